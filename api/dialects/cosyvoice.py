"""The CosyVoice service, at the root: a text in, the address of a WAV out."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from api.dependencies import Api, Services
from api.dialects.openai import all_voices
from api.http.auth import key_of
from api.http.disconnect import while_connected
from api.http.responses import Json
from core.errors import InvalidRequest, NotFound
from core.ids import new_id
from core.records import VoiceRecord
from core.speech.requests import PromptRef, SpeechRequest

router = APIRouter(tags=["CosyVoice"])

_FILENAME: Final = re.compile(r"[0-9a-f]{32}\.wav")


class SynthesizeBody(BaseModel):
    """A text, and a published voice or a recording to imitate."""

    apikey: str = ""
    target: str = Field("", description="The text to speak.")
    voice: str | None = Field(None, description="The name of a published voice.")
    voice_url: str | None = Field(None, description="A reference recording of 1 to 30 s to imitate.")
    voice_prompt_text: str | None = Field(None, description="What is said in the reference recording.")


class Status(TypedDict):
    status: str
    available_voices: list[str]


class Synthesized(TypedDict):
    download_url: str
    processing_time_seconds: float
    num_chunks: int


@router.get("/", response_model=Status)
async def status(api: Api) -> Response:
    """Whether it runs, and who can speak."""
    return Json({"status": "running", "available_voices": [voice.name for voice in await all_voices(api)]})


@router.get("/voices", response_model=list[str])
async def voices(api: Api) -> Response:
    """The names of the published voices."""
    return Json([voice.name for voice in await all_voices(api)])


@router.post("/synthesize", response_model=Synthesized)
async def synthesize(body: SynthesizeBody, request: Request, api: Api) -> Response:
    """Speak a text and answer when the recording can be downloaded."""
    started = time.perf_counter()
    await api.keys.check(body.apikey or key_of(request))
    api.speech.check_text(body.target)
    await api.speech.check_ready()
    filename, chunks = await while_connected(request, _speak(api, body))
    return Json(
        {
            "download_url": str(request.url_for("download", filename=filename)),
            "processing_time_seconds": round(time.perf_counter() - started, 3),
            "num_chunks": chunks,
        }
    )


@router.get("/audio/{filename}", response_class=FileResponse)
async def download(filename: str, api: Api) -> Response:
    """A finished recording; its name is the only key to it."""
    path = await asyncio.to_thread(api.storage.path, f"audio/{filename}") if _FILENAME.fullmatch(filename) else None
    if path is None or not path.is_file():
        raise NotFound(f"There is no recording {filename!r}.", hint="Recordings are deleted after a while.")
    return FileResponse(path, media_type="audio/wav", filename=filename, content_disposition_type="inline")


async def _speak(api: Services, body: SynthesizeBody) -> tuple[str, int]:
    """The finished file's name and how many utterances it has."""
    job_id = new_id("speech")
    speech = await _request(api, body, job_id)
    filename = f"{secrets.token_hex(16)}.wav"
    chunks = await api.speech.write(speech, f"audio/{filename}", job_id=job_id)
    return filename, chunks


async def _request(api: Services, body: SynthesizeBody, job_id: str) -> SpeechRequest:
    if body.voice and body.voice_url:
        raise InvalidRequest("`voice` and `voice_url` exclude each other.", hint="Send one of them.")
    if body.voice:
        return await api.speech.request(body.target, body.voice)
    if not body.voice_url:
        raise InvalidRequest("Neither `voice` nor `voice_url` was sent.", hint="GET /voices lists the voices.")
    if not (body.voice_prompt_text or "").strip():
        raise InvalidRequest(
            "`voice_prompt_text` is missing.", hint="Send what is said in the recording of `voice_url`."
        )
    newest = await _newest_voice(api)
    prompt = await _fetch_prompt(api, body, job_id)
    return await api.speech.request(body.target, newest.id, prompt=prompt)


async def _newest_voice(api: Services) -> VoiceRecord:
    """Whose checkpoints speak for a voice that only brought a recording."""
    page = await api.records.voices.page(limit=1)
    if not page.items:
        raise InvalidRequest(
            "There is no voice yet whose models could imitate a recording.",
            hint="Train one first: POST /api/v1/files, then POST /api/v1/tasks.",
        )
    return page.items[0]


async def _fetch_prompt(api: Services, body: SynthesizeBody, job_id: str) -> PromptRef:
    assert body.voice_url is not None
    assert body.voice_prompt_text is not None
    temporary = api.storage.new_temporary()
    try:
        await api.fetcher.fetch(body.voice_url, temporary)
        # Beside the speech that uses it, so that both are swept together.
        return await api.recordings.keep_prompt(temporary, f"speech/{job_id}/prompt.wav", body.voice_prompt_text)
    finally:
        temporary.unlink(missing_ok=True)
