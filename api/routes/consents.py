"""Consents: who agreed that a voice is imitated, for which uses, until when; attached to voices, and withdrawn."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from pydantic import AwareDatetime, Field
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset
from api.http.access import VOICES
from api.http.responses import JsonResponse, stored_file_response
from api.http.schemas import PageView, StrictModel, page_response
from core.errors import InvalidRequest, NotFound
from core.names import Name
from core.records import ConsentRecord, ConsentSource, NewConsentRecord, iso
from core.voices.consent_jobs import PHRASES, phrase_to_say

router = APIRouter(prefix="/consents", tags=["Consents"], dependencies=[VOICES])


class NewConsent(StrictModel):
    """A statement that somebody agreed."""

    speaker: Name = Field(min_length=1, max_length=200, description="Who gave it.")
    statement: str = Field(min_length=1, max_length=10_000, description="Its words, or where it is kept.")
    uses: list[Name] = Field([], max_length=50, description="What it allows, in your words; empty: it names no uses.")
    given_at: AwareDatetime | None = Field(None, description="null: now.")
    expires_at: AwareDatetime | None = Field(None, description="null: never.")
    for_all_voices: bool = Field(False, description="Whether it counts for all voices that its owner publishes.")
    name: Name = Field("", max_length=200, description="For lists; by default the speaker.")

    def record(self) -> NewConsentRecord:
        """Return the record to store; InvalidRequest for times that cannot be."""
        now = datetime.now(UTC)
        if self.given_at is not None and self.given_at > now:
            raise InvalidRequest(f"`given_at` is {self.given_at.isoformat()}, which has not come yet.")
        if self.expires_at is not None and self.expires_at <= now:
            raise InvalidRequest(f"`expires_at` is {self.expires_at.isoformat()}, which has passed.")
        return NewConsentRecord(
            speaker=self.speaker,
            statement=self.statement,
            source=ConsentSource.OWNER if self.for_all_voices else ConsentSource.STATEMENT,
            uses=self.uses,
            given_at=None if self.given_at is None else self.given_at.timestamp(),
            expires_at=None if self.expires_at is None else self.expires_at.timestamp(),
            name=self.name,
        )


class ConsentView(TypedDict):
    """A consent."""

    id: str
    name: str
    speaker: str
    statement: str
    source: ConsentSource
    """`statement`: written; `recording`: spoken and checked; `owner`: for all voices of its owner; `setting`:
    CONSENT_STATEMENT; `licence`: of a bundled recording."""
    uses: list[str]
    language: str
    status: Literal["valid", "expired", "withdrawn"]
    given_at: str
    expires_at: str | None
    withdrawn_at: str | None
    created_at: str
    spoken: bool
    """Whether GET /consents/{id}/recording returns it as a recording."""


class ConsentPhrase(TypedDict):
    """The words of a spoken consent."""

    language: str
    phrase: str


class ConsentPhrases(TypedDict):
    """The words of spoken consents."""

    items: list[ConsentPhrase]


@router.post("", status_code=201, response_model=ConsentView)
async def create_consent(new: NewConsent, api: Api) -> Response:
    """Store a statement of consent. It counts for the voices that name it as `consent_id`."""
    return JsonResponse(consent_view(await api.records.consents.create(new.record())), 201)


@router.get("", response_model=PageView[ConsentView])
async def list_consents(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """List the caller's consents, newest first; admins see all."""
    return page_response(await api.records.consents.page(limit, offset), consent_view, limit, offset)


@router.get("/phrases", response_model=ConsentPhrases)
async def list_phrases(api: Api) -> Response:
    """List what the speaker of a spoken consent (POST /v1/audio/voice_consents) says, by language."""
    content: ConsentPhrases = {
        "items": [
            {"language": language, "phrase": phrase_to_say(language, api.settings.app_name)} for language in PHRASES
        ]
    }
    return JsonResponse(content)


@router.get("/{consent_id}", response_model=ConsentView)
async def get_consent(consent_id: str, api: Api) -> Response:
    """Get a consent by its id."""
    return JsonResponse(consent_view(await api.records.consents.get(consent_id)))


@router.get("/{consent_id}/recording", response_class=FileResponse)
async def consent_recording(consent_id: str, api: Api) -> Response:
    """Download the recording of a spoken consent as a WAV. Supports `Range`."""
    consent = await api.records.consents.get(consent_id)
    gone = NotFound(
        f"The consent {consent_id} has no recording.", hint="POST /v1/audio/voice_consents makes spoken ones."
    )
    if not consent.recording_key:
        raise gone
    return await stored_file_response(api.storage, consent.recording_key, "audio/wav", missing=gone)


@router.post("/{consent_id}/withdraw", response_model=ConsentView)
async def withdraw_consent(consent_id: str, api: Api) -> Response:
    """Withdraw a consent. From now on nobody can speak with its voices, on any host; repeating it changes nothing."""
    return JsonResponse(consent_view(await api.records.consents.withdraw(consent_id)))


def consent_view(consent: ConsentRecord) -> ConsentView:
    """Return a consent as the API shows it."""
    return {
        "id": consent.id,
        "name": consent.name,
        "speaker": consent.speaker,
        "statement": consent.statement,
        "source": consent.source,
        "uses": consent.uses,
        "language": consent.language,
        "status": consent.status(time.time()),
        "given_at": iso(consent.given_at),
        "expires_at": iso(consent.expires_at),
        "withdrawn_at": iso(consent.withdrawn_at),
        "created_at": iso(consent.created_at),
        "spoken": bool(consent.recording_key),
    }
