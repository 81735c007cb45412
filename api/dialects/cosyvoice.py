"""The CosyVoice service's API, at the root: a text in, the URL of a WAV out."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices, RequestCaller
from api.http.access import PUBLIC, SPEAK_WITH_KEY_IN_BODY
from api.http.disconnect import while_connected
from api.http.errors import NativeErrors
from api.http.responses import JsonResponse
from api.services.speech import SpeechOptions
from common import storage_keys
from core.access import LOCAL, Caller
from core.errors import InvalidRequest, NotFound, SovitsError
from core.ids import new_id
from core.speech.requests import SpeechRequest

router = APIRouter(tags=["CosyVoice"])

_FILENAME: Final = re.compile(r"[0-9a-f]{32}\.wav")


class CosyVoiceErrors:
    """CosyVoice's error format: `detail` beside the native fields."""

    schema_name = NativeErrors.schema_name
    schema: Mapping[str, object] = NativeErrors.schema
    paths = ("/synthesize", "/voices", "/audio")
    synthesize_statuses: Mapping[int, int] = {404: 400, 405: 400, 409: 500, 413: 400, 422: 400}
    """Clients expect 400, 401, 500, 503 and 504 of /synthesize."""

    def applies_to(self, path: str) -> bool:
        """Return whether the path belongs to CosyVoice's API."""
        return path == "/" or path.startswith(self.paths)

    def status(self, error: SovitsError, status: int, path: str) -> int:
        """Return one of the statuses that clients expect of /synthesize; of other paths the status as it is."""
        return self.synthesize_statuses.get(status, status) if path == "/synthesize" else status

    def body(self, error: SovitsError, status: int) -> Mapping[str, object]:
        """Return the message with the hint as `detail`, and the native fields."""
        return {"detail": f"{error.message} {error.hint}".strip(), **NativeErrors().body(error, status)}


class SynthesizeBody(BaseModel):
    """A text, and a voice or a reference recording to speak like."""

    apikey: str = ""
    target: str = Field("", description="The text.")
    voice: str | None = Field(None, description="Name of a voice.")
    voice_url: str | None = Field(None, description="URL of a reference recording of 1 to 30 s.")
    voice_prompt_text: str | None = Field(None, description="Transcript of the reference recording.")


class CosyVoiceStatus(TypedDict):
    """The service runs; the names of its voices."""

    status: str
    available_voices: list[str]


class SynthesizedFile(TypedDict):
    """A finished WAV."""

    download_url: str
    processing_time_seconds: float
    num_chunks: int


@router.get("/", response_model=CosyVoiceStatus, dependencies=[PUBLIC])
async def status(request: Request, api: Api, caller: RequestCaller) -> Response:
    """Get the service's status and the names of the shared voices; a browser, which accepts HTML, gets the console."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("console/", 307, {"Vary": "Accept"})
    content = {"status": "running", "available_voices": await _voice_names(api, caller)}
    return JsonResponse(content, headers={"Vary": "Accept"})


@router.get("/voices", response_model=list[str], dependencies=[PUBLIC])
async def voices(api: Api, caller: RequestCaller) -> Response:
    """List the names of the shared voices; without any API key, of all."""
    return JsonResponse(await _voice_names(api, caller))


@router.post("/synthesize", response_model=SynthesizedFile, dependencies=[SPEAK_WITH_KEY_IN_BODY])
async def synthesize(body: SynthesizeBody, request: Request, api: Api) -> Response:
    """Synthesize a text with a voice, or in the voice of a reference recording; respond when the WAV is complete.

    400 for an invalid request, 503 while no synthesizer is running, 504 after SYNTHESIS_TIMEOUT_SECONDS.
    """
    started = time.perf_counter()
    api.speech.check_text(body.target)
    await api.speech.check_ready()
    filename, utterances = await while_connected(request, _synthesize(api, body))
    content: SynthesizedFile = {
        "download_url": str(request.url_for("download", filename=filename)),
        "processing_time_seconds": round(time.perf_counter() - started, 3),
        "num_chunks": utterances,
    }
    return JsonResponse(content)


@router.get("/audio/{filename}", response_class=FileResponse, dependencies=[PUBLIC])
async def download(filename: str, api: Api) -> Response:
    """Download a finished WAV. No API key is needed, since its name is random."""
    path = (
        await asyncio.to_thread(api.storage.path, storage_keys.download_file(filename))
        if _FILENAME.fullmatch(filename)
        else None
    )
    if path is None or not path.is_file():
        raise NotFound(f"There is no recording {filename!r}.", hint="Recordings are deleted after a while.")
    return FileResponse(path, media_type="audio/wav", filename=filename, content_disposition_type="inline")


async def _voice_names(api: ApiServices, caller: Caller) -> list[str]:
    voices = await api.voices.list_all()
    return [voice.name for voice in voices if voice.visibility == "shared" or caller is LOCAL]


async def _synthesize(api: ApiServices, body: SynthesizeBody) -> tuple[str, int]:
    """Return the name of the finished file and the number of its utterances."""
    job_id = new_id("speech")
    speech = await _speech_request(api, body, job_id)
    filename = f"{secrets.token_hex(16)}.wav"
    utterances = await api.speech.write(speech, storage_keys.download_file(filename), job_id=job_id)
    return filename, utterances


async def _speech_request(api: ApiServices, body: SynthesizeBody, job_id: str) -> SpeechRequest:
    """Return the speech request; a reference recording is downloaded and spoken with the newest voice's checkpoints."""
    if body.voice and body.voice_url:
        raise InvalidRequest("`voice` and `voice_url` exclude each other.", hint="Send one of them.")
    if body.voice:
        return await api.speech.request(body.target, body.voice, SpeechOptions())
    if not body.voice_url:
        raise InvalidRequest("Neither `voice` nor `voice_url` was sent.", hint="GET /voices lists the voices.")
    prompt_text = body.voice_prompt_text or ""
    if not prompt_text.strip():
        raise InvalidRequest(
            "`voice_prompt_text` is missing.", hint="Send what is said in the recording of `voice_url`."
        )
    newest = await api.voices.newest()
    if newest is None:
        raise InvalidRequest(
            "There is no voice yet whose models could imitate a recording.",
            hint="Train one first: POST /api/v1/files, then POST /api/v1/tasks.",
        )
    key = storage_keys.speech_file(job_id, "prompt.wav")  # expires together with the speech
    prompt = await api.recordings.fetch_prompt(body.voice_url, key, prompt_text)
    return await api.speech.request(body.target, newest.id, SpeechOptions(prompt=prompt))
