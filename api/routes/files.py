"""Files: uploads, their metadata, downloads in ranges."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Final, NotRequired

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset, Services
from api.http.multipart import Upload, received
from api.http.responses import Json
from core.datasets.archive import Archive, inspect_archive, is_zip, printable_name
from core.errors import InvalidRequest, NotFound
from core.ids import new_id
from core.records import FileRecord, NewFileRecord, SkippedFile, iso

router = APIRouter(prefix="/files", tags=["Files"])

DEFAULT_PURPOSE: Final = "training"
ZIP_PURPOSE: Final = "dataset"
"""Of every archive, whatever its sender calls it: it serves for nothing else."""
_PURPOSE: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "default": DEFAULT_PURPOSE},
                    },
                }
            }
        },
    }
}


class ArchiveView(TypedDict):
    """What a ZIP offers to a data set."""

    recordings: int
    lists: list[str]
    skipped: list[SkippedFile]


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
    archive: NotRequired[ArchiveView]


class FilePage(TypedDict):
    items: list[FileView]
    total: int
    limit: int
    offset: int


@router.post("", status_code=201, response_model=FileView, openapi_extra=FORM)
async def upload_file(request: Request, api: Api) -> Response:
    """Upload a recording (any format that can be decoded, whole, audible, a second or longer) or a ZIP of them.

    A ZIP becomes a data set by POST /datasets; `archive` says what in it can be used and what is skipped, and why.
    """
    async with received(request, api.storage, api.settings.max_upload_mb << 20) as upload:
        purpose = upload.fields.get("purpose", DEFAULT_PURPOSE)
        if not _PURPOSE.fullmatch(purpose):
            raise InvalidRequest(f"The purpose {purpose[:60]!r} is none.", hint="Up to 40 letters, digits, _ or -.")
        record, archive = await take_in(api, upload, purpose)
    return Json(file_view(record) if archive is None else {**file_view(record), "archive": _archive_view(archive)}, 201)


@router.get("", response_model=FilePage)
async def list_files(
    api: Api, limit: Limit = 50, offset: Offset = 0, purpose: Annotated[str | None, Query()] = None
) -> Response:
    """The uploaded files, newest first."""
    page = await api.records.files.page(limit, offset, purpose)
    return Json(
        {
            "items": [file_view(one) for one in page.items],
            "total": page.total,
            "limit": limit,
            "offset": offset,
        }
    )


@router.get("/{file_id}", response_class=FileResponse)
async def download_file(file_id: str, api: Api) -> Response:
    """The bytes as they were uploaded; `Range` is honoured."""
    record = await api.records.files.get(file_id)
    path = await asyncio.to_thread(api.storage.path, record.storage_key)
    if not path.is_file():
        raise NotFound(f"The bytes of {file_id} are gone.", hint="Delete the file and upload it again.")
    return FileResponse(
        path,
        media_type=record.media_type,
        filename=record.filename,
        headers={"X-Content-Type-Options": "nosniff", "ETag": f'"{record.sha256}"'},
    )


@router.get("/{file_id}/metadata", response_model=FileView)
async def file_metadata(file_id: str, api: Api) -> Response:
    """What is known of a file."""
    return Json(file_view(await api.records.files.get(file_id)))


@router.delete("/{file_id}", status_code=204)
async def delete_file(file_id: str, api: Api) -> Response:
    """Delete a file; 409 while a task uses it."""
    record = await api.records.files.delete(file_id)
    await asyncio.to_thread(api.storage.delete, record.storage_key)
    return Response(status_code=204)


async def take_in(
    api: Services, upload: Upload, purpose: str, *, zip_purpose: str = ZIP_PURPOSE
) -> tuple[FileRecord, Archive | None]:
    """Look into what was received and keep it: a recording, or a ZIP of recordings with what it offers."""
    if await asyncio.to_thread(is_zip, upload.path):
        archive = await asyncio.to_thread(inspect_archive, upload.path)
        return await _keep(api, upload, zip_purpose, media_type="application/zip"), archive
    info = await api.recordings.check(upload.path)
    record = await _keep(
        api,
        upload,
        purpose,
        media_type=media_type(info.codec),
        duration_seconds=info.duration_seconds,
        sample_rate=info.sample_rate,
        channels=info.channels,
    )
    return record, None


async def _keep(api: Services, upload: Upload, purpose: str, **facts: Any) -> FileRecord:
    """Store and write down what was received and looked at."""
    file_id = new_id("file")
    key = f"files/{file_id}"
    await asyncio.to_thread(api.storage.publish, upload.path, key)
    try:
        return await api.records.files.create(
            NewFileRecord(
                id=file_id,
                filename=upload.filename,
                purpose=purpose,
                size_bytes=upload.size_bytes,
                sha256=upload.sha256,
                storage_key=key,
                **facts,
            )
        )
    except BaseException:
        api.storage.delete(key)  # bytes that no record names would stay forever
        raise


def _archive_view(archive: Archive) -> ArchiveView:
    return {
        "recordings": len(archive.recordings),
        "lists": [printable_name(one.name) for one in archive.transcript_lists],
        "skipped": archive.skipped,
    }


def file_view(record: FileRecord) -> FileView:
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


_MEDIA_TYPES: Final = {
    "mp3": "audio/mpeg",
    "mp3float": "audio/mpeg",
    "flac": "audio/flac",
    "vorbis": "audio/ogg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
}


def media_type(codec: str) -> str:
    """By what was decoded, never by what the sender claimed."""
    if codec.startswith("pcm_"):
        return "audio/wav"
    return _MEDIA_TYPES.get(codec, "application/octet-stream")
