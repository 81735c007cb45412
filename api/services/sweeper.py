"""Deletion of expired speech, and of temporary files that a killed process left."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from pathlib import Path
from typing import Final

from common import storage_keys
from core.errors import NotFound, RecordsUnavailable, StorageUnavailable
from core.records import Records
from core.storage import Storage

logger = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 600.0
DOWNLOAD_NAME: Final = re.compile(r"[0-9a-f]{32}\.wav")
"""Of a finished WAV."""
TEMPORARY_SECONDS: Final = 86_400.0
"""An older temporary file has no owner: no upload takes so long."""
IMPORT_SECONDS: Final = 7 * 86_400.0
"""How long the files of an import wait for their job."""


async def sweep_periodically(storage: Storage, records: Records, speech_seconds: float, static_dir: str = "") -> None:
    """Delete expired files every ten minutes until cancelled. Speech expires after `speech_seconds`."""
    while True:
        try:
            if count := await delete_unrecorded(storage, records):
                logger.info("Deleted %d files that a process had stored and not recorded before it died.", count)
            count = await asyncio.to_thread(sweep, storage, speech_seconds, time.time())
            if static_dir:
                count += await asyncio.to_thread(sweep_copies, Path(static_dir), time.time() - speech_seconds)
        except (OSError, StorageUnavailable, RecordsUnavailable) as error:
            logger.warning("Old speech could not be deleted: %s", error)
        else:
            if count:
                logger.info("Deleted %d old recordings.", count)
        await asyncio.sleep(INTERVAL_SECONDS)


async def delete_unrecorded(storage: Storage, records: Records) -> int:
    """Delete what processes stored and died before they recorded it; return how much that was."""
    count = 0
    for note, key in (await asyncio.to_thread(storage.unrecorded_keys)).items():
        if not await _is_recorded(records, key):
            await asyncio.to_thread(storage.delete_all, key)
            count += 1
        note.unlink(missing_ok=True)
    return count


async def _is_recorded(records: Records, key: str) -> bool:
    """Return whether a file, a spoken consent, a voice or a prompt of a voice has a record, by its key."""
    _, owner_id, *rest = key.split("/")
    try:
        if key == storage_keys.uploaded_file(owner_id):
            await records.files.get(owner_id)
            return True
        consent_id = owner_id.removesuffix(".wav")
        if key == storage_keys.consent_file(consent_id):
            await records.consents.get(consent_id)
            return True
        voice = await records.voices.get(owner_id)
    except NotFound:
        return False
    return not rest or any(prompt["audio"] == key for prompt in voice.prompts)


def sweep_copies(folder: Path, than: float) -> int:
    """Delete the copies of WAVs in STATIC_DIR that are older than a time, and nothing else there; return how many."""
    expired = [
        file for file in folder.glob("*.wav") if DOWNLOAD_NAME.fullmatch(file.name) and file.stat().st_mtime < than
    ]
    for file in expired:
        file.unlink(missing_ok=True)
    return len(expired)


def sweep(storage: Storage, speech_seconds: float, now: float) -> int:
    """Delete expired files and return how many entries those were. Several processes may sweep at once."""
    return (
        storage.sweep(storage_keys.SPEECH, now - speech_seconds)
        + storage.sweep(storage_keys.DOWNLOADS, now - speech_seconds)
        + storage.sweep(storage_keys.INFERENCE, now - speech_seconds)
        + storage.sweep(storage_keys.IMPORTS, now - IMPORT_SECONDS)
        + storage.sweep_temporary(now - TEMPORARY_SECONDS)
    )
