"""Uploaded files: recordings, and ZIP archives of recordings for data sets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from api.http.multipart import Upload, safe_label
from api.services.recordings import RecordingService
from common import storage_keys
from common.files import sha256_of_file
from core.datasets.archive import Archive, inspect_archive, is_zip
from core.ids import new_id
from core.media.decode import AudioInfo
from core.net.fetch import Fetcher
from core.records import FileRecord, NewFileRecord, Records
from core.settings import Settings
from core.storage import Storage

DEFAULT_PURPOSE: Final = "training"
ARCHIVE_PURPOSE: Final = "dataset"
"""The purpose of every archive, whatever its sender calls it: it serves nothing else."""
FETCH_SECONDS: Final = 300.0
"""For one URL, from the first lookup to the last byte."""

_MEDIA_TYPES: Final = {
    "mp3": "audio/mpeg",
    "mp3float": "audio/mpeg",
    "flac": "audio/flac",
    "vorbis": "audio/ogg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
}


@dataclass(frozen=True, slots=True)
class IngestedFile:
    """A file that was checked and stored."""

    record: FileRecord
    archive: Archive | None = None
    """Of a ZIP: what it offers to a data set."""
    warnings: tuple[str, ...] = ()
    """A sentence for each length in it that is wrong and was corrected."""


class UploadService:
    """Checks and stores uploads, and deletes them."""

    def __init__(self, settings: Settings, storage: Storage, records: Records, recordings: RecordingService) -> None:
        self.settings = settings
        self.storage = storage
        self.records = records
        self.recordings = recordings

    async def ingest(self, upload: Upload, purpose: str, *, archive_purpose: str = ARCHIVE_PURPOSE) -> IngestedFile:
        """Check a received file and store it.

        Raises BadAudio for a recording that cannot be used, BadArchive for such a ZIP.
        """
        if await asyncio.to_thread(is_zip, upload.path):
            archive = await asyncio.to_thread(inspect_archive, upload.path)
            return IngestedFile(await self._store(upload, archive_purpose, "application/zip"), archive)
        info = await self.recordings.check(upload.path)
        record = await self._store(upload, purpose, codec_media_type(info.codec), info)
        return IngestedFile(record, warnings=info.warnings)

    async def ingest_url(self, url: str) -> FileRecord:
        """Download a recording or a ZIP from an untrusted URL and store it like an upload.

        Raises ForbiddenAddress, DownloadFailed, FileTooLarge, BadAudio or BadArchive.
        """
        fetcher = Fetcher(
            max_bytes=self.settings.max_upload_mb << 20,
            timeout_seconds=FETCH_SECONDS,
            allowed_hosts=self.settings.fetch_allowed_hosts,
        )
        path = self.storage.new_temporary()
        try:
            fetched = await fetcher.fetch(url, path)
            digest = await asyncio.to_thread(sha256_of_file, path)
            name = safe_label(unquote(urlsplit(url).path)) or "recording"
            upload = Upload(path, name, fetched.size_bytes, digest, {})
            return (await self.ingest(upload, DEFAULT_PURPOSE)).record
        finally:
            path.unlink(missing_ok=True)

    async def delete(self, file_id: str) -> None:
        """Delete a file and its bytes; Conflict while something uses it."""
        record = await self.records.files.delete(file_id)
        await asyncio.to_thread(self.storage.delete, record.storage_key)

    async def _store(self, upload: Upload, purpose: str, media_type: str, info: AudioInfo | None = None) -> FileRecord:
        file_id = new_id("file")
        key = storage_keys.uploaded_file(file_id)
        await asyncio.to_thread(self.storage.publish, upload.path, key)
        try:
            return await self.records.files.create(
                NewFileRecord(
                    id=file_id,
                    filename=upload.filename,
                    purpose=purpose,
                    size_bytes=upload.size_bytes,
                    sha256=upload.sha256,
                    storage_key=key,
                    media_type=media_type,
                    duration_seconds=None if info is None else info.duration_seconds,
                    sample_rate=None if info is None else info.sample_rate,
                    channels=None if info is None else info.channels,
                )
            )
        except BaseException:
            self.storage.delete(key)  # bytes without a record would stay forever
            raise


def codec_media_type(codec: str) -> str:
    """Return the media type of a decoded codec; what the sender claimed does not matter."""
    if codec.startswith("pcm_"):
        return "audio/wav"
    return _MEDIA_TYPES.get(codec, "application/octet-stream")
