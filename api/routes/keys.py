"""API keys: created, listed and revoked by admins."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import AwareDatetime, Field
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset, RequestCaller
from api.http.access import ADMINS, FIRST_KEY
from api.http.responses import JsonResponse
from api.http.schemas import PageView, StrictModel, page_response
from core.access import LOCAL, USER_SCOPES, Quota, Scope
from core.errors import InvalidRequest, NotFound
from core.records import ApiKeyRecord, ConsentSource, NewConsentRecord, Page, iso

router = APIRouter(prefix="/keys", tags=["API keys"], dependencies=[ADMINS])

QuotaLimit = Annotated[int | None, Field(ge=1, le=2**53, description="null: no limit.")]
KeyStatus = Literal["valid", "admin", "expired", "revoked"]


class QuotaFields(StrictModel):
    """The most that a key may use; beyond it, requests get 429 with `Retry-After`."""

    jobs_waiting: QuotaLimit = None
    bytes_stored: QuotaLimit = None
    characters_per_day: QuotaLimit = None
    requests_per_minute: QuotaLimit = None


class NewKey(StrictModel):
    """A key to create."""

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
    owner: str = Field(
        "",
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]*$",
        description="Keys of one owner share files, tasks and voices; by default the name.",
    )
    scopes: list[Scope] = Field(default=sorted(USER_SCOPES), min_length=1, max_length=len(Scope))
    expires_at: AwareDatetime | None = Field(None, description="null: never.")
    quota: QuotaFields = QuotaFields()
    consent: str = Field(
        "", max_length=10_000, description="Statement that the speakers of all its owner's voices agreed to them."
    )


class QuotaView(TypedDict):
    """The most that a key may use."""

    jobs_waiting: int | None
    bytes_stored: int | None
    characters_per_day: int | None
    requests_per_minute: int | None


class KeyView(TypedDict):
    """An API key without its secret."""

    id: str
    name: str
    owner: str
    shown: str
    scopes: list[str]
    status: KeyStatus
    quota: QuotaView
    created_at: str | None
    last_used_at: str | None
    expires_at: str | None
    revoked_at: str | None


class CreatedKeyView(KeyView):
    """A key as it is shown once."""

    key: str


@router.post("", status_code=201, response_model=CreatedKeyView, dependencies=[FIRST_KEY])
async def create_key(new: NewKey, api: Api, caller: RequestCaller) -> Response:
    """Create an API key. This response is the only one that contains the key; from then on every request needs one.

    The request that created the first key gets this response again, still without a key, when it is sent again with the
    same `Idempotency-Key` and the same body within 24 hours.
    """
    if caller is LOCAL and Scope.ADMIN not in new.scopes:
        raise InvalidRequest(
            "The first API key must be an admin's, or nobody could create or revoke another one.",
            hint='Send "scopes": ["admin"].',
        )
    if new.expires_at is not None and new.expires_at <= datetime.now(UTC):
        raise InvalidRequest(f"`expires_at` is {new.expires_at.isoformat()}, which has passed.")
    record, key = await api.records.api_keys.create(
        new.name,
        owner=new.owner.strip(),
        scopes=new.scopes,
        expires_at=None if new.expires_at is None else new.expires_at.timestamp(),
        quota=Quota(**new.quota.model_dump()),
    )
    if new.consent.strip():
        await api.records.consents.create(
            NewConsentRecord(
                speaker=record.owner,
                statement=new.consent.strip(),
                source=ConsentSource.OWNER,
                name=record.name,
                owner=record.owner,
            )
        )
    api.keys.forget()
    return JsonResponse(CreatedKeyView(**key_view(record), key=key), 201)


@router.get("", response_model=PageView[KeyView])
async def list_keys(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """List the API keys that were created, newest first, revoked ones included; not those of the settings."""
    keys = (await api.records.api_keys.all())[::-1]
    return page_response(Page(keys[offset : offset + limit], len(keys)), key_view, limit, offset)


@router.delete("/{key_id}", status_code=204)
async def revoke_key(key_id: str, api: Api) -> Response:
    """Revoke an API key. When it was the last one, every request is rejected until the command `keys open`."""
    if not any(key.id == key_id for key in await api.records.api_keys.all()):
        raise NotFound(f"no API key {key_id!r}", hint="GET /api/v1/keys lists them.")
    await api.records.api_keys.revoke(key_id)
    api.keys.forget()
    return Response(status_code=204)


def key_view(key: ApiKeyRecord) -> KeyView:
    """Return a key as the API shows it."""
    return {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "shown": key.shown,
        "scopes": key.scopes,
        "status": key.status(time.time()),
        "quota": {
            "jobs_waiting": key.jobs_waiting,
            "bytes_stored": key.bytes_stored,
            "characters_per_day": key.characters_per_day,
            "requests_per_minute": key.requests_per_minute,
        },
        "created_at": iso(key.created_at),
        "last_used_at": iso(key.last_used_at),
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
    }
