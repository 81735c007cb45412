"""Upstream's api_v2, and what its fork and SillyTavern's providers ask beside it."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Final, cast, get_args

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices, RequestCaller
from api.dialects.upstream.errors import BadField, RequestFailed
from api.dialects.upstream.fields import read_text, read_values
from api.dialects.upstream.selection import (
    WEIGHT_ENDINGS,
    caller_identity,
    find_checkpoint,
    find_voice,
)
from api.dialects.upstream.speaking import tts_response
from api.http.access import PUBLIC, SPEAKING, RouteAccess, require_scope
from api.http.responses import JsonResponse
from common.program_name import program_name
from core.access import LOCAL, Scope
from core.errors import Forbidden, NotFound, SovitsError
from core.host_control import HostCommand, control_host
from core.records import CheckpointRecord

logger = logging.getLogger(__name__)

SPEECH_ONLY: Final = require_scope(Scope.SPEAK)
router = APIRouter(tags=["GPT-SoVITS api_v2"], dependencies=[SPEECH_ONLY])
lists_router = APIRouter(tags=["GPT-SoVITS api_v2"], dependencies=[SPEAKING])
control_router = APIRouter(tags=["GPT-SoVITS api_v2"], dependencies=[PUBLIC])
ADMIN_ACCESS: Final = RouteAccess((Scope.ADMIN,), (Scope.ADMIN,))

SUCCESS: Final = {"message": "success"}
MAX_LISTED: Final = 500
PathParameter = Annotated[str, Query(max_length=1000)]


class TtsBody(BaseModel):
    """A speech request of upstream's api_v2. Unknown fields are ignored; numbers may stand in strings."""

    text: str
    text_lang: str = Field(description="auto, en, zh, ja, ko, yue, all_zh …")
    ref_audio_path: str = Field(description="A voice, `voice/prompt` or an upload, behind any folder.")
    prompt_lang: str = Field(description="Language of the reference; a voice's own prompt has its own.")
    prompt_text: str = Field("", description="Transcript of the reference; a voice's own prompt has its own.")
    aux_ref_audio_paths: list[str] = Field([], description="More references; not for v3 and v4.")
    top_k: int | None = None
    top_p: float | None = None
    temperature: float | None = None
    repetition_penalty: float | None = None
    text_split_method: str | None = Field(None, description="cut0 to cut5.")
    speed_factor: float = 1.0
    fragment_interval: float | None = Field(None, description="Seconds of silence after a sentence.")
    seed: int | None = Field(-1, description="-1: random.")
    media_type: str = Field("wav", description="wav, raw, ogg or aac.")
    streaming_mode: bool | int | str = Field(False, description="0 to 3, true or false.")
    sample_steps: int | None = Field(None, description="v3 and v4.")
    super_sampling: bool | None = Field(None, description="v3.")
    overlap_length: int | None = None
    min_chunk_length: int | None = None


class SpeakerView(TypedDict):
    """A voice as SillyTavern lists it."""

    name: str
    voice_id: str


class WeightView(TypedDict):
    """A checkpoint by its file name."""

    name: str


class SuccessView(TypedDict):
    """It was done."""

    message: str


def tts_body_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that reads a body of upstream's clients itself."""
    return {"requestBody": {"content": {"application/json": {"schema": model.model_json_schema()}}}}


@router.get("/tts", response_class=StreamingResponse)
async def get_tts(request: Request, api: Api) -> Response:
    """Speak a text; the fields are those of POST /tts, in the query."""
    return await tts_response(api, request, await read_values(request))


@router.post("/tts", response_class=StreamingResponse, openapi_extra=tts_body_schema(TtsBody))
async def post_tts(request: Request, api: Api) -> Response:
    """Speak a text in the voice of a reference that the server knows.

    `streaming_mode` 1 to 3 sends audio as it is made. Errors are 400 with upstream's `message`.
    """
    return await tts_response(api, request, await read_values(request))


@router.get("/set_gpt_weights", response_model=SuccessView)
async def set_gpt_weights(request: Request, api: Api, weights_path: PathParameter = "") -> Response:
    """Choose a GPT checkpoint (id, file name or a voice) for this caller's next requests."""
    if not weights_path.strip():
        raise BadField("gpt weight path is required")
    await choose_weights(api, request, "gpt", weights_path, "change gpt weight failed")
    return JsonResponse(SUCCESS)


@router.get("/set_sovits_weights", response_model=SuccessView)
async def set_sovits_weights(request: Request, api: Api, weights_path: PathParameter = "") -> Response:
    """Choose a SoVITS checkpoint (id, file name or a voice) for this caller's next requests."""
    if not weights_path.strip():
        raise BadField("sovits weight path is required")
    await choose_weights(api, request, "sovits", weights_path, "change sovits weight failed")
    return JsonResponse(SUCCESS)


@router.get("/set_refer_audio", response_model=SuccessView)
async def set_refer_audio(request: Request, api: Api, refer_audio_path: PathParameter = "") -> Response:
    """Choose the reference of this caller's requests that name none."""
    try:
        await api.references.find(refer_audio_path)
    except SovitsError as error:
        raise RequestFailed("set refer audio failed", error) from None
    await api.sessions.update(
        caller_identity(request), reference=refer_audio_path, reference_text="", reference_language=""
    )
    return JsonResponse(SUCCESS)


@lists_router.get("/speakers", response_model=list[SpeakerView])
async def speakers(api: Api) -> Response:
    """List the voices by the names that `ref_audio_path` takes."""
    voices = await api.voices.list_all()
    return JsonResponse([{"name": voice.name, "voice_id": voice.name} for voice in voices])


@lists_router.get("/speakers_list", response_model=list[str])
async def speakers_list(api: Api) -> Response:
    """List the names of the voices."""
    return JsonResponse([voice.name for voice in await api.voices.list_all()])


@router.post("/tts_to_audio/", response_class=StreamingResponse)
@router.post("/tts_to_audio", response_class=StreamingResponse, include_in_schema=False)
async def tts_to_audio(request: Request, api: Api) -> Response:
    """Speak `text` in `language` with the voice `speaker_wav`, as clients of XTTS ask for it; a WAV."""
    values = await read_values(request)
    language = read_text(values, "language")
    fields = {"text": values.get("text"), "ref_audio_path": values.get("speaker_wav")}
    return await tts_response(api, request, {**fields, "text_lang": language, "prompt_lang": language})


@lists_router.get("/get_gpt_weights", response_model=list[WeightView])
async def get_gpt_weights(api: Api) -> Response:
    """List the GPT checkpoints by their file names, newest first."""
    return JsonResponse(await _weights(api, "gpt"))


@lists_router.get("/get_sovits_weights", response_model=list[WeightView])
async def get_sovits_weights(api: Api) -> Response:
    """List the SoVITS checkpoints by their file names, newest first."""
    return JsonResponse(await _weights(api, "sovits"))


@control_router.get("/control", response_class=Response)
@control_router.post("/control", response_class=Response)
async def control(request: Request, api: Api, caller: RequestCaller) -> Response:
    """Drain the daemon of this host and end it (`command=exit`), or start it again (`restart`); no body.

    Only an admin's key may: 401 without a key, 403 with another, and 403 where there are no keys, since any page in a
    browser could send this.
    """
    command = read_text(await read_values(request), "command").strip()
    if not command:
        raise BadField("command is required")
    if command not in get_args(HostCommand):
        raise BadField(f"command: {command[:40]} is not supported", hint="Send restart or exit.")
    if caller is LOCAL:
        raise Forbidden(
            "Without API keys nobody may do this.", hint=f"Create an admin key: {program_name()} keys create NAME."
        )
    await ADMIN_ACCESS(request)
    logger.warning("%s asks for %s of the daemon.", caller.key_id, command)
    return Response(background=BackgroundTask(control_host, api.settings.data_path, cast(HostCommand, command)))


async def choose_weights(api: ApiServices, request: Request, kind: str, path: str, failure: str) -> None:
    """Remember a checkpoint, or both of a voice, for the caller; RequestFailed where nothing has that name."""
    choices: dict[str, str]
    if checkpoint := await find_checkpoint(api, kind, path):
        choices = {f"{kind}_checkpoint_id": checkpoint.id}
    elif voice := await find_voice(api, path):
        choices = {
            "gpt_checkpoint_id": voice.gpt_checkpoint_id,
            "sovits_checkpoint_id": voice.sovits_checkpoint_id,
        }
    else:
        missing = NotFound(
            f"No {kind} checkpoint of that name is here.", hint="Send its id, its file name, or the name of a voice."
        )
        raise RequestFailed(failure, missing)
    await api.sessions.update(caller_identity(request), **choices)


async def _weights(api: ApiServices, kind: str) -> list[WeightView]:
    page = await api.records.checkpoints.page(MAX_LISTED, kind=kind)
    names: set[str] = set()
    views: list[WeightView] = []
    for record in page.items:
        name = _file_stem(record, names)
        names.add(name)
        views.append({"name": name + WEIGHT_ENDINGS[kind]})
    return views


def _file_stem(record: CheckpointRecord, names: set[str]) -> str:
    """Return the checkpoint's name; its id where a newer one has that name, or where a path would lose it."""
    usable = record.name and record.name not in names and not set(record.name) & set("/\\")
    return record.name if usable else record.id
