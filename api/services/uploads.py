"""Uploaded files: recordings, and ZIP archives of recordings for data sets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from api.http.multipart import Upload, safe_label
from api.services.recordings import RecordingService
from common import storage_keys
from common.files import sha256_of_file
from core.creation import creation_id
from core.datasets.archive import Archive, inspect_archive, is_zip, list_members
from core.datasets.list_encoding import decode_list
from core.errors import BadArchive
from core.jobs.idempotency import KeyReused
from core.media.decode import AudioInfo
from core.net.fetch import RECORDING_SECONDS, Fetcher
from core.records import TEXT_MEDIA_TYPE, FileRecord, NewFileRecord, Records
from core.settings import Settings
from core.storage import Storage

DEFAULT_PURPOSE: Final = "training"
TEXT_PURPOSE: Final = "text"
"""The purpose of every text to be spoken."""
TEXT_SUFFIX: Final = ".txt"
BYTES_PER_CHARACTER: Final = 4
ARCHIVE_PURPOSE: Final = "dataset"
"""The purpose of every archive, whatever its sender calls it: it serves nothing else."""


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

    async def ingest(
        self, upload: Upload, purpose: str, *, archive_purpose: str = ARCHIVE_PURPOSE, accept_text: bool = False
    ) -> IngestedFile:
        """Check a received file and store it; with `accept_text` also a text, or a ZIP of nothing but texts.

        Raises BadAudio for a recording that cannot be used, BadArchive for such a ZIP.
        """
        if await asyncio.to_thread(is_zip, upload.path):
            if accept_text and await asyncio.to_thread(_holds_only_texts, upload.path):
                return IngestedFile(await self._store(upload, TEXT_PURPOSE, "application/zip"))
            archive = await asyncio.to_thread(inspect_archive, upload.path)
            return IngestedFile(await self._store(upload, archive_purpose, "application/zip"), archive)
        if accept_text and await asyncio.to_thread(_is_text, upload, self.settings.max_text_characters):
            return IngestedFile(await self._store(upload, TEXT_PURPOSE, TEXT_MEDIA_TYPE))
        info = await self.recordings.check(upload.path)
        record = await self._store(upload, purpose, info.media_type, info)
        return IngestedFile(record, warnings=info.warnings)

    async def ingest_url(self, url: str) -> FileRecord:
        """Download a recording or a ZIP from an untrusted URL and store it like an upload.

        Raises ForbiddenAddress, DownloadFailed, FileTooLarge, BadAudio or BadArchive.
        """
        fetcher = Fetcher(
            max_bytes=self.settings.max_upload_mb << 20,
            timeout_seconds=RECORDING_SECONDS,
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
        await asyncio.to_thread(self.storage.delete_folder, storage_keys.reference_folder(file_id))

    async def _store(self, upload: Upload, purpose: str, media_type: str, info: AudioInfo | None = None) -> FileRecord:
        file_id = creation_id("file")
        if existing := await self.records.files.find_created(file_id):
            if existing.sha256 == upload.sha256:
                return existing
            raise KeyReused(
                "The idempotency key came with another file before.",
                hint="A key belongs to one request; take a new one for this.",
            )
        key = storage_keys.uploaded_file(file_id)
        with self.storage.recording(key):
            await asyncio.to_thread(self.storage.publish, upload.path, key)
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


def _is_text(upload: Upload, max_characters: int) -> bool:
    """Return whether a file is called a text and is one."""
    if not upload.filename.lower().endswith(TEXT_SUFFIX) or upload.size_bytes > BYTES_PER_CHARACTER * max_characters:
        return False
    text = decode_list(upload.path.read_bytes())
    return text is not None and bool(text.strip()) and "\0" not in text


def _holds_only_texts(path: Path) -> bool:
    """Return whether a ZIP has text files and nothing else; whether they are texts shows when they are read."""
    try:
        names = [member.name.lower() for member in list_members(path)]
    except BadArchive:
        return False  # the archive's own check says why
    return bool(names) and all(name.endswith(TEXT_SUFFIX) for name in names)
