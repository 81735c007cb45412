"""The CosyVoice service's API, at the root: a text in, the URL of a WAV out."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices, RequestCaller
from api.http.access import PUBLIC, SPEAK_WITH_KEY_IN_BODY
from api.http.disconnect import while_connected
from api.http.errors import NativeErrors
from api.http.responses import JsonResponse
from api.services.speech_fields import SpeechFields
from api.services.sweeper import DOWNLOAD_NAME
from common import storage_keys
from common.files import atomic_path
from core.access import LOCAL, Caller
from core.errors import InvalidRequest, NotFound, NotReady, SovitsError, VoiceNotFound
from core.ids import new_id
from core.speech.requests import SpeechRequest

router = APIRouter(tags=["CosyVoice"])

READY: Final = "就绪"
NOT_READY: Final = "未就绪"
"""Whether a text can be spoken now, in the service's own words."""


class CosyVoiceErrors:
    """CosyVoice's error format: `detail` beside the native fields."""

    schema_name = NativeErrors.schema_name
    schema: Mapping[str, object] = NativeErrors.schema
    paths = ("/synthesize", "/voices", "/audio")
    synthesize_statuses: Mapping[int, int] = {403: 401, 404: 400, 405: 400, 409: 500, 413: 400, 422: 400, 507: 500}
    """Clients expect 400, 401, 500, 503 and 504 of /synthesize."""

    def applies_to(self, path: str) -> bool:
        """Return whether the path belongs to CosyVoice's API."""
        return path.startswith(self.paths)

    def status(self, error: SovitsError, status: int, path: str) -> int:
        """Return one of the statuses that clients expect of /synthesize; of other paths the status as it is."""
        return self.synthesize_statuses.get(status, status) if path == "/synthesize" else status

    def body(self, error: SovitsError, status: int) -> Mapping[str, object]:
        """Return the message with the hint as `detail`, and the native fields."""
        return {**NativeErrors().body(error, status), "detail": error.sentences}


class SynthesizeBody(SpeechFields):
    """A text, and a voice or a reference recording to speak like; how it is spoken is an addition."""

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
    _check_fields(body)
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
        if DOWNLOAD_NAME.fullmatch(filename)
        else None
    )
    if path is None or not path.is_file():
        raise NotFound(f"There is no recording {filename!r}.", hint="Recordings are deleted after a while.")
    return FileResponse(path, media_type="audio/wav", filename=filename, content_disposition_type="inline")


async def status_response(api: ApiServices, caller: Caller) -> Response:
    """Return the status of `GET /`: ready when a text can be spoken now."""
    try:
        await api.speech.check_ready()
        status = READY
    except NotReady:
        status = NOT_READY
    content = {"status": status, "available_voices": await _voice_names(api, caller)}
    return JsonResponse(content, headers={"Vary": "Accept"})


async def _voice_names(api: ApiServices, caller: Caller) -> list[str]:
    voices = await api.voices.list_all()
    return [voice.name for voice in voices if voice.visibility == "shared" or caller is LOCAL]


async def _synthesize(api: ApiServices, body: SynthesizeBody) -> tuple[str, int]:
    """Return the name of the finished file and the number of its utterances."""
    job_id = new_id("speech")
    speech = await _speech_request(api, body, job_id)
    await api.speech.check_ready()
    filename = f"{secrets.token_hex(16)}.wav"
    key = storage_keys.download_file(filename)
    utterances = await api.speech.write(speech, key, job_id=job_id)
    if api.settings.static_dir:
        await asyncio.to_thread(_copy, api.storage.path(key), Path(api.settings.static_dir) / filename)
    return filename, utterances


def _check_fields(body: SynthesizeBody) -> None:
    """Raise InvalidRequest unless the body names a voice, or a recording with its transcript."""
    if body.voice and body.voice_url:
        raise InvalidRequest("`voice` and `voice_url` exclude each other.", hint="Send one of them.")
    if not body.voice and not body.voice_url:
        raise InvalidRequest("Neither `voice` nor `voice_url` was sent.", hint="GET /voices lists the voices.")
    if body.voice_url and not (body.voice_prompt_text or "").strip():
        raise InvalidRequest(
            "`voice_prompt_text` is missing.", hint="Send what is said in the recording of `voice_url`."
        )


async def _speech_request(api: ApiServices, body: SynthesizeBody, job_id: str) -> SpeechRequest:
    """Return the speech request; a reference recording is downloaded, and the default voice's models imitate it."""
    rate = api.settings.cosyvoice_sample_rate
    if body.voice:
        return await api.speech.request(body.target, body.voice, body.speech_options(default_rate=rate))
    try:
        voice = await api.speech.voices.newest(body.target, body.language)
    except VoiceNotFound:
        raise InvalidRequest(
            "There is no voice yet whose models could imitate a recording.",
            hint="Train one first: POST /api/v1/files, then POST /api/v1/tasks.",
        ) from None
    await api.speech.check_ready()  # before anything is downloaded
    key = storage_keys.speech_file(job_id, "prompt.wav")  # expires together with the speech
    prompt = await api.recordings.fetch_prompt(body.voice_url or "", key, body.voice_prompt_text or "")
    options = body.speech_options(default_rate=rate, prompt=prompt)
    return await api.speech.request(body.target, voice, options)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
