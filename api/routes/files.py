"""Files: uploaded, listed, downloaded, deleted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, NotRequired

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices, Cursor, Limit, Offset
from api.http.access import TRAINING
from api.http.localization import localized
from api.http.multipart import announced_bytes, received_file
from api.http.openapi import multipart_form
from api.http.responses import JsonResponse, stored_file_response
from api.http.schemas import Deleted, PageView, page_response
from api.services.uploads import DEFAULT_PURPOSE
from core.datasets.archive import Archive, printable_name
from core.errors import InvalidRequest, NotFound
from core.media.analysis import RecordingProblem
from core.records import FileRecord, SkippedFile, iso

router = APIRouter(
    prefix="/files",
    tags=["Files"],
    dependencies=[TRAINING],
)

_PURPOSE: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
UPLOAD_FORM: Final[dict[str, Any]] = multipart_form(
    {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"type": "string", "default": DEFAULT_PURPOSE},
    },
    required=["file"],
)


class DatasetArchiveView(TypedDict):
    """What a ZIP offers to a data set."""

    recordings: int
    lists: list[str]
    skipped: list[dict[str, str]]


class FileView(TypedDict):
    """An uploaded recording, or a ZIP of recordings."""

    id: str
    filename: str
    purpose: str
    size_bytes: int
    sha256: str
    media_type: str
    duration_seconds: float | None
    sample_rate: int | None
    channels: int | None
    uploaded_at: str | None
    archive: NotRequired[DatasetArchiveView]
    warnings: NotRequired[list[str]]


class RecordingAnalysisView(TypedDict):
    """What a recording is like; levels in dB of full scale."""

    file_id: str
    sample_rate: int
    duration_seconds: float
    speech_seconds: float
    peak_db: float
    speech_db: float
    noise_db: float
    signal_to_noise_db: float
    clipped_share: float
    problems: list[RecordingProblem]


@router.post("", status_code=201, response_model=FileView, openapi_extra=UPLOAD_FORM)
async def upload_file(request: Request, api: Api) -> Response:
    """Upload a recording, or a ZIP of recordings, up to MAX_UPLOAD_MB.

    A recording may have any format that can be decoded; it must be complete, audible and at least a second long;
    `warnings` names lengths in its header that are wrong. A ZIP becomes a data set by POST /datasets; `archive` counts
    the usable files in it and names those that are skipped, with the reason. `purpose`: up to 40 letters, digits, `_`
    or `-`; every ZIP has the purpose `dataset`.
    """
    await api.records.files.check_room(announced_bytes(request))
    async with received_file(request, api.storage, api.settings.max_upload_mb << 20) as upload:
        purpose = upload.fields.get("purpose", DEFAULT_PURPOSE)
        if not _PURPOSE.fullmatch(purpose):
            raise InvalidRequest(f"The purpose {purpose[:60]!r} is none.", hint="Up to 40 letters, digits, _ or -.")
        ingested = await api.uploads.ingest(upload, purpose, accept_text=True)
    view = file_view(ingested.record)
    if ingested.archive is not None:
        view["archive"] = _archive_view(ingested.archive)
    if ingested.warnings:
        view["warnings"] = [localized(warning) for warning in ingested.warnings]
    return JsonResponse(view, 201)


@router.get("", response_model=PageView[FileView])
async def list_files(
    api: Api, limit: Limit = 50, offset: Offset = 0, purpose: Annotated[str | None, Query()] = None, cursor: Cursor = ""
) -> Response:
    """List uploaded files, newest first."""
    page = await api.records.files.page(limit, offset, purpose, cursor=cursor)
    return page_response(page, file_view, limit, offset, cursors=True)


@router.get("/{file_id}", response_class=FileResponse)
async def download_file(file_id: str, api: Api) -> Response:
    """Download a file as it was uploaded. Supports `Range`; the ETag is the SHA-256."""
    return await file_response(api, await api.records.files.get(file_id))


@router.get("/{file_id}/metadata", response_model=FileView)
async def file_metadata(file_id: str, api: Api) -> Response:
    """Get the name, size, checksum and audio properties of a file."""
    return JsonResponse(file_view(await api.records.files.get(file_id)))


@router.get("/{file_id}/analysis", response_model=RecordingAnalysisView)
async def analyze_file(file_id: str, api: Api) -> Response:
    """Measure a recording before anything is trained on it: level, clipping, background noise, and audible time.

    `problems` lists what should be better in another recording. 400 for a file that is no recording.
    """
    record = await api.records.files.get(file_id)
    if record.sample_rate is None:
        raise InvalidRequest(f"{file_id} is no recording.", hint="Upload a recording of one person speaking.")
    path = await asyncio.to_thread(api.storage.path, record.storage_key)
    if not await asyncio.to_thread(path.is_file):
        raise _bytes_gone(record)
    analysis = await api.recordings.analyze(path, record.sample_rate)
    content: RecordingAnalysisView = {
        "file_id": record.id,
        "sample_rate": record.sample_rate,
        "duration_seconds": analysis.duration_seconds,
        "speech_seconds": analysis.speech_seconds,
        "peak_db": analysis.peak_db,
        "speech_db": analysis.speech_db,
        "noise_db": analysis.noise_db,
        "signal_to_noise_db": round(analysis.signal_to_noise_db, 1),
        "clipped_share": analysis.clipped_share,
        "problems": list(analysis.problems),
    }
    return JsonResponse(content)


@router.delete("/{file_id}", response_model=Deleted)
async def delete_file(file_id: str, api: Api) -> Response:
    """Delete a file. 409 while a task uses it."""
    await api.uploads.delete(file_id)
    return JsonResponse(Deleted(success=True, message=localized(f"{file_id} is deleted.")))


async def file_response(api: ApiServices, record: FileRecord) -> FileResponse:
    """Return the bytes of an upload under the name that it was uploaded with."""
    return await stored_file_response(
        api.storage,
        record.storage_key,
        record.media_type,
        filename=record.filename,
        sha256=record.sha256,
        missing=_bytes_gone(record),
    )


def _bytes_gone(record: FileRecord) -> NotFound:
    return NotFound(f"The bytes of {record.id} are gone.", hint="Delete the file and upload it again.")


def file_view(record: FileRecord) -> FileView:
    """Return an upload as the API shows it."""
    return {
        "id": record.id,
        "filename": record.filename,
        "purpose": record.purpose,
        "size_bytes": record.size_bytes,
        "sha256": record.sha256,
        "media_type": record.media_type,
        "duration_seconds": record.duration_seconds,
        "sample_rate": record.sample_rate,
        "channels": record.channels,
        "uploaded_at": iso(record.uploaded_at),
    }


def skipped_views(files: Iterable[SkippedFile]) -> list[dict[str, str]]:
    """Return the names of unusable files with the reasons."""
    return [{"name": file["name"], "reason": localized(file["reason"])} for file in files]


def _archive_view(archive: Archive) -> DatasetArchiveView:
    return {
        "recordings": len(archive.recordings),
        "lists": [printable_name(entry.name) for entry in archive.transcript_lists],
        "skipped": skipped_views(archive.skipped),
    }
