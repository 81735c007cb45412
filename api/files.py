"""Files: uploads, their metadata, downloads in ranges."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset
from api.responses import Json
from api.uploads import received
from core.errors import InvalidRequest, NotFound
from core.ids import new_id
from core.records import FileRecord, iso

router = APIRouter(prefix="/files", tags=["Files"])

DEFAULT_PURPOSE: Final = "training"
_PURPOSE: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_FORM: Final[dict[str, Any]] = {
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


class FileView(TypedDict):
    """An uploaded recording."""

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


class FilePage(TypedDict):
    items: list[FileView]
    total: int
    limit: int
    offset: int


@router.post("", status_code=201, response_model=FileView, openapi_extra=_FORM)
async def upload_file(request: Request, api: Api) -> Response:
    """Upload a recording: any format that can be decoded, whole, audible, a second or longer."""
    async with received(request, api.storage, api.settings.max_upload_mb << 20) as upload:
        purpose = upload.fields.get("purpose", DEFAULT_PURPOSE)
        if not _PURPOSE.fullmatch(purpose):
            raise InvalidRequest(f"The purpose {purpose[:60]!r} is none.", hint="Up to 40 letters, digits, _ or -.")
        info = await api.recordings.check(upload.path)
        file_id = new_id("file")
        key = f"files/{file_id}"
        await asyncio.to_thread(api.storage.publish, upload.path, key)
        try:
            record = await api.records.create_file(
                file_id,
                filename=upload.filename,
                purpose=purpose,
                size_bytes=upload.size_bytes,
                sha256=upload.sha256,
                media_type=media_type(info.codec),
                duration_seconds=info.duration_seconds,
                sample_rate=info.sample_rate,
                channels=info.channels,
                storage_key=key,
            )
        except BaseException:
            api.storage.delete(key)  # bytes that no record names would stay forever
            raise
    return Json(file_view(record), 201)


@router.get("", response_model=FilePage)
async def list_files(
    api: Api, limit: Limit = 50, offset: Offset = 0, purpose: Annotated[str | None, Query()] = None
) -> Response:
    """The uploaded files, newest first."""
    page = await api.records.list_files(limit, offset, purpose)
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
    record = await api.records.get_file(file_id)
    path = api.storage.path(record.storage_key)
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
    return Json(file_view(await api.records.get_file(file_id)))


@router.delete("/{file_id}", status_code=204)
async def delete_file(file_id: str, api: Api) -> Response:
    """Delete a file; 409 while a task uses it."""
    record = await api.records.delete_file(file_id)
    await asyncio.to_thread(api.storage.delete, record.storage_key)
    return Response(status_code=204)


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
