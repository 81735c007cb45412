"""OpenAI's API of custom voices: a spoken consent, and a voice of a sample by the same speaker."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.types import AwareDatetime
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices
from api.http.access import VOICES
from api.http.disconnect import while_connected
from api.http.multipart import UploadedForm, received_form
from api.http.openapi import multipart_form
from api.http.responses import JsonResponse
from api.services.spoken_consents import MAX_RECORDING_BYTES
from common import storage_keys
from common.languages import find_language
from common.limits import NANO_PROMPT_SECONDS
from core.creation import creation_id
from core.errors import Conflict, InvalidParameter, InvalidRequest, NotReady
from core.names import Name
from core.records import ConsentRecord, ConsentSource, NewConsentRecord, NewVoiceRecord, VoiceRecord
from core.voices.checks import check_name
from core.voices.consent_jobs import PHRASES

router = APIRouter(prefix="/v1/audio", tags=["OpenAI"], dependencies=[VOICES])

BASE_NAME: Final = "nano-base"
"""Of the checkpoints that speak in the voice of any sample."""
MAX_FIELD_CHARACTERS: Final = 200
_BINARY: Final = {"type": "string", "format": "binary"}
CONSENT_FORM: Final[dict[str, Any]] = multipart_form(
    {
        "name": {"type": "string", "description": "For lists."},
        "language": {"type": "string", "description": f"Of the phrase: {', '.join(PHRASES)}, or en-US and the like."},
        "recording": {**_BINARY, "description": "The speaker says the phrase; the error for another text names it."},
        "speaker": {"type": "string", "description": "Extension: who speaks; by default the name."},
        "uses": {"type": "string", "description": "Extension: what it allows, separated by commas."},
        "expires_at": {"type": "string", "format": "date-time", "description": "Extension: until when it counts."},
    },
    required=["name", "language", "recording"],
)
VOICE_FORM: Final[dict[str, Any]] = multipart_form(
    {
        "name": {"type": "string"},
        "consent": {"type": "string", "description": "The id of a spoken consent of the same speaker."},
        "audio_sample": {**_BINARY, "description": "1 to 30 s of clear speech."},
        "type": {"type": "string", "enum": ["audio_sample"], "default": "audio_sample"},
    },
    required=["name", "consent", "audio_sample"],
)


class SpokenConsentView(TypedDict):
    """A spoken consent in OpenAI's format."""

    id: str
    object: Literal["audio.voice_consent"]
    name: str
    language: str
    created_at: int


class SpokenConsentList(TypedDict):
    """A page of consents in OpenAI's format."""

    object: Literal["list"]
    data: list[SpokenConsentView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedConsent(TypedDict):
    """A consent that was withdrawn, in OpenAI's format."""

    id: str
    object: Literal["audio.voice_consent"]
    deleted: bool


class CustomVoiceView(TypedDict):
    """A voice in OpenAI's format."""

    id: str
    object: Literal["audio.voice"]
    name: str
    created_at: int


class ConsentName(BaseModel):
    """The new name of a consent."""

    name: Name = Field(min_length=1, max_length=MAX_FIELD_CHARACTERS)


@router.post("/voice_consents", response_model=SpokenConsentView, openapi_extra=CONSENT_FORM)
async def create_voice_consent(request: Request, api: Api) -> Response:
    """Store a spoken consent, after a recognizer heard its phrase; the error for another text says the phrase.

    503 while no worker for files is running.
    """
    async with received_form(request, api.storage, MAX_RECORDING_BYTES, ("recording",)) as form:
        name = _field(form, "name")
        new = NewConsentRecord(
            speaker=_field(form, "speaker", name),
            statement="",
            source=ConsentSource.RECORDING,
            uses=[use.strip() for use in form.fields.get("uses", "").split(",") if use.strip()],
            expires_at=_expiry(form.fields.get("expires_at", "")),
            name=name,
            language=_field(form, "language"),
        )
        recording = _file(form, "recording")
        return JsonResponse(_consent_view(await while_connected(request, api.spoken_consents.create(new, recording))))


@router.get("/voice_consents", response_model=SpokenConsentList)
async def list_voice_consents(
    api: Api,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str, Query(max_length=64, description="Id of the last consent of the page before.")] = "",
) -> Response:
    """List the caller's spoken consents that were not withdrawn, newest first."""
    consents = await api.records.consents.spoken_page(limit, after)
    views = [_consent_view(consent) for consent in consents.items]
    content: SpokenConsentList = {
        "object": "list",
        "data": views,
        "first_id": views[0]["id"] if views else None,
        "last_id": views[-1]["id"] if views else None,
        "has_more": consents.next_cursor is not None,
    }
    return JsonResponse(content)


@router.get("/voice_consents/{consent_id}", response_model=SpokenConsentView)
async def get_voice_consent(consent_id: str, api: Api) -> Response:
    """Get a spoken consent."""
    return JsonResponse(_consent_view(await api.spoken_consents.get(consent_id)))


@router.post("/voice_consents/{consent_id}", response_model=SpokenConsentView)
async def rename_voice_consent(consent_id: str, body: ConsentName, api: Api) -> Response:
    """Change the name of a spoken consent."""
    await api.spoken_consents.get(consent_id)
    return JsonResponse(_consent_view(await api.records.consents.rename(consent_id, body.name)))


@router.delete("/voice_consents/{consent_id}", response_model=DeletedConsent)
async def delete_voice_consent(consent_id: str, api: Api) -> Response:
    """Withdraw a spoken consent and delete its recording: nobody speaks with its voices any more."""
    await api.spoken_consents.delete(consent_id)
    content: DeletedConsent = {"id": consent_id, "object": "audio.voice_consent", "deleted": True}
    return JsonResponse(content)


@router.post("/voices", response_model=CustomVoiceView, openapi_extra=VOICE_FORM)
async def create_custom_voice(request: Request, api: Api) -> Response:
    """Create a voice that speaks like a sample, without training, after the sample was compared with the consent.

    409 when the name is taken; 503 while no worker for files is running.
    """
    async with received_form(request, api.storage, MAX_RECORDING_BYTES, ("audio_sample",)) as form:
        if (kind := form.fields.get("type", "audio_sample")) != "audio_sample":
            raise InvalidRequest(
                f"A voice cannot be made of {kind[:40]!r}.",
                hint="Send an `audio_sample`, with `type` audio_sample or without it.",
                details={"param": "type"},
            )
        name, consent_id = check_name(_field(form, "name")), _field(form, "consent")
        voice = await while_connected(request, _create(api, name, consent_id, _file(form, "audio_sample")))
    return JsonResponse(_voice_view(voice))


async def _create(api: ApiServices, name: str, consent_id: str, sample: Path) -> VoiceRecord:
    """Publish the voice of a sample, whose words a recognizer says."""
    voice_id = creation_id("voice")
    if existing := await api.records.voices.find_created(voice_id):
        return existing
    consent = await api.spoken_consents.get(consent_id)
    api.records.consents.check(consent, f"The consent {consent.id}")
    if await api.records.voices.has_name(name):
        raise Conflict(f"There is a voice named {name!r} already.", hint="Choose another name.")
    gpt = await api.records.checkpoints.find_named("gpt", f"{BASE_NAME}-gpt")
    sovits = await api.records.checkpoints.find_named("sovits", f"{BASE_NAME}-sovits")
    if gpt is None or sovits is None:
        raise NotReady("The base of nano is not published yet.", hint="The supervisor publishes it when it starts.")
    with api.storage.recording(storage_keys.voice_folder(voice_id)):
        key = storage_keys.voice_file(voice_id, "prompt.wav")
        await api.recordings.store_prompt(sample, key, "", seconds=NANO_PROMPT_SECONDS)
        comparison = await api.spoken_consents.compare(consent, key, transcribe=True)
        language = find_language(comparison["language"])
        text = comparison["text"] if language else ""  # it would have no phonemes
        language = language or "auto"
        return await api.records.voices.create(
            NewVoiceRecord(
                id=voice_id,
                name=name,
                version="nano",
                language=language,
                gpt_checkpoint_id=gpt.id,
                sovits_checkpoint_id=sovits.id,
                prompts=[{"name": "default", "audio": key, "text": text, "language": language}],
                consent_id=consent.id,
            )
        )


def _field(form: UploadedForm, name: str, default: str = "") -> str:
    value = form.fields.get(name, "").strip() or default
    if not value:
        raise InvalidRequest(f"The form has no `{name}`.", details={"param": name})
    if len(value) > MAX_FIELD_CHARACTERS:
        raise InvalidParameter(
            f"`{name}` has {len(value)} characters; {MAX_FIELD_CHARACTERS} is the most.", details={"param": name}
        )
    if not value.isprintable():
        raise InvalidParameter(f"`{name}` has characters that cannot be shown.", details={"param": name})
    return value


def _file(form: UploadedForm, name: str) -> Path:
    if name not in form.files:
        raise InvalidRequest(
            f"The form has no file named `{name}`.", hint="Send it with a file name.", details={"param": name}
        )
    return form.files[name].path


def _expiry(text: str) -> float | None:
    """Return seconds since the epoch; None for an empty text."""
    if not text:
        return None
    try:
        expires_at: datetime = TypeAdapter(AwareDatetime).validate_python(text)
    except ValidationError:
        raise InvalidParameter(
            f"`expires_at` is {text[:40]!r}.",
            hint="Send such as 2030-01-01T00:00:00Z.",
            details={"param": "expires_at"},
        ) from None
    if expires_at <= datetime.now(expires_at.tzinfo):
        raise InvalidParameter(
            f"`expires_at` is {expires_at.isoformat()}, which has passed.", details={"param": "expires_at"}
        )
    return expires_at.timestamp()


def _consent_view(consent: ConsentRecord) -> SpokenConsentView:
    return {
        "id": consent.id,
        "object": "audio.voice_consent",
        "name": consent.name,
        "language": consent.language,
        "created_at": int(consent.created_at),
    }


def _voice_view(voice: VoiceRecord) -> CustomVoiceView:
    return {"id": voice.id, "object": "audio.voice", "name": voice.name, "created_at": int(voice.created_at)}
