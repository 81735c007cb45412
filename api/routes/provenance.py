"""Provenance: which request spoke which audio, with which voice and checkpoints."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset
from api.http.access import SPEAKING
from api.http.responses import JsonResponse
from api.http.schemas import PageView, page_response
from core.errors import InvalidParameter
from core.marks.speech_marks import format_mark, parse_mark
from core.records import ProvenanceRecord, iso

router = APIRouter(prefix="/provenance", tags=["Provenance"], dependencies=[SPEAKING])


class ProvenanceView(TypedDict):
    """The record of a speech."""

    id: str
    request_id: str
    """Of the speech, the inference or the run; files have it as `ProduceID`."""
    mark_id: str | None
    """Of the watermark."""
    time: str
    seconds: float
    voice_id: str | None
    voice_name: str | None
    gpt_sha256: str | None
    sovits_sha256: str | None
    """Of the checkpoints that spoke; null for those that are gone."""
    owner: str | None
    key_id: str | None
    text_sha256: str
    text: str | None
    """null unless PROVENANCE_TEXT is `text`."""


class ProvenanceList(TypedDict):
    """What a request spoke: one record, or one for each sample of a run."""

    items: list[ProvenanceView]


class DeletedProvenance(TypedDict):
    """What was deleted."""

    deleted: int


@router.get("", response_model=PageView[ProvenanceView])
async def list_provenance(
    api: Api,
    limit: Limit = 50,
    offset: Offset = 0,
    mark_id: Annotated[str, Query(max_length=20, description="Six hexadecimal digits, as POST /detect says.")] = "",
) -> Response:
    """List the records of the caller's speech, newest first; admins see all. They are kept for PROVENANCE_DAYS."""
    mark = parse_mark(mark_id) if mark_id else None
    if mark_id and mark is None:
        raise InvalidParameter(f"`mark_id` is {mark_id!r}.", hint="It has six hexadecimal digits, such as 00a1ff.")
    return page_response(await api.records.provenance.page(limit, offset, mark_id=mark), provenance_view, limit, offset)


@router.get("/{request_id}", response_model=ProvenanceList)
async def get_provenance(request_id: str, api: Api) -> Response:
    """Get the records of a request, or the record of that id."""
    records = await api.records.provenance.of_request(request_id)
    return JsonResponse({"items": [provenance_view(record) for record in records]})


@router.delete("/{request_id}", response_model=DeletedProvenance)
async def delete_provenance(request_id: str, api: Api) -> Response:
    """Delete the records of a request, or the record of that id."""
    return JsonResponse({"deleted": await api.records.provenance.delete(request_id)})


def provenance_view(record: ProvenanceRecord) -> ProvenanceView:
    """Return a record as the API shows it."""
    return {
        "id": record.id,
        "request_id": record.request_id,
        "mark_id": None if record.mark_id is None else format_mark(record.mark_id),
        "time": iso(record.time),
        "seconds": round(record.seconds, 3),
        "voice_id": record.voice_id or None,
        "voice_name": record.voice_name or None,
        "gpt_sha256": record.gpt_sha256 or None,
        "sovits_sha256": record.sovits_sha256 or None,
        "owner": record.owner,
        "key_id": record.key_id or None,
        "text_sha256": record.text_sha256,
        "text": record.text or None,
    }
