"""The path `/`, which five clients share: they are told apart by their fields."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import Field

from api.dependencies import Api, ApiServices, RequestCaller
from api.dialects.cosyvoice import CosyVoiceStatus, status_response
from api.dialects.upstream.api_v1 import v1_response
from api.dialects.upstream.audio import CONTENT_TYPES, file_response, streamed_response
from api.dialects.upstream.errors import BadField, RequestFailed
from api.dialects.upstream.fields import Values, read_text, read_values
from api.dialects.upstream.routes import SPEECH_ONLY, TtsBody, tts_body_schema
from api.dialects.upstream.selection import caller_identity
from api.dialects.upstream.speaking import FAILURE, read_request, speech_audio, tts_text
from api.http.access import PUBLIC, RouteAccess
from core.access import Scope
from core.errors import SovitsError

status_router = APIRouter(tags=["CosyVoice"], dependencies=[PUBLIC])
router = APIRouter(tags=["GPT-SoVITS api_v2"], dependencies=[SPEECH_ONLY])

FORK_TOP_K: Final = 5
"""The fork's default, where api_v2 has 15."""
_SPEECH_ACCESS: Final = RouteAccess((Scope.SPEAK,), (Scope.SPEAK,))


class RootBody(TtsBody):
    """A speech request to `/`: of /tts, or with `target_voice`, `speaker` or `text_language`."""

    target_voice: str = Field("", description="SillyTavern's adapter for GPT-SoVITS names a voice so.")
    speaker: str = Field("", description="SillyTavern's provider for CosyVoice names a voice so.")
    text_language: str = Field("", description="The first interface: refer_wav_path, prompt_language …")


@status_router.get("/", response_model=CosyVoiceStatus)
async def get_root(request: Request, api: Api, caller: RequestCaller) -> Response:
    """Get the service's status and the names of the shared voices; a browser, which accepts HTML, gets the console.

    With `text` in the query, it is spoken as POST / does.
    """
    if "text" not in request.query_params:
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("console/", 307, {"Vary": "Accept"})
        return await status_response(api, caller)
    await _SPEECH_ACCESS(request)
    return await _speech_response(api, request, await read_values(request))


@router.post("/", response_class=StreamingResponse, openapi_extra=tts_body_schema(RootBody))
async def post_root(request: Request, api: Api) -> Response:
    """Speak a text, as clients of upstream's fork, of its first interface and of SillyTavern ask for it."""
    return await _speech_response(api, request, await read_values(request))


async def _speech_response(api: ApiServices, request: Request, values: Values) -> Response:
    if read_text(values, "ref_audio_path").strip():
        return await _fork_response(api, request, {"top_k": FORK_TOP_K, **values})
    for name in ("target_voice", "speaker"):
        if voice := read_text(values, name).strip():
            return await _voice_response(api, request, voice, values)
    if any(name in values for name in ("text_language", "refer_wav_path", "prompt_language")):
        return await v1_response(api, request, values)
    if "text_lang" in values or "prompt_lang" in values:
        return await _fork_response(api, request, values)  # which says what is missing
    raise BadField(
        "Nothing says whose voice is to speak.",
        hint="Send ref_audio_path, target_voice, speaker, or refer_wav_path with text_language.",
    )


async def _fork_response(api: ApiServices, request: Request, values: Values) -> Response:
    """Answer as /tts does, in one file: these clients play the whole response."""
    session = await api.sessions.get(caller_identity(request))
    tts = await read_request(api, session, values)
    audio = await speech_audio(api, session, tts_text(tts))
    try:
        if tts.streaming_mode == 0 or tts.media_type == "wav":
            return await file_response(request, audio, tts.media_type, api.speech.marks)
        return await streamed_response(request, audio, tts.media_type, chained=False)
    except SovitsError as error:
        raise RequestFailed(FAILURE, error) from None


async def _voice_response(api: ApiServices, request: Request, voice: str, values: Values) -> Response:
    """Answer SillyTavern's providers that name a voice and no reference; an unknown media type is sent as WAV."""
    media_type = read_text(values, "media_type").strip().lower()
    language = read_text(values, "text_lang").strip() or "auto"
    fields = {**values, "ref_audio_path": voice, "text_lang": language, "prompt_lang": "auto", "media_type": "wav"}
    session = await api.sessions.get(caller_identity(request))
    tts = await read_request(api, session, fields)
    audio = await speech_audio(api, session, tts_text(tts))
    try:
        return await file_response(
            request, audio, media_type if media_type in CONTENT_TYPES else "wav", api.speech.marks
        )
    except SovitsError as error:
        raise RequestFailed(FAILURE, error) from None
