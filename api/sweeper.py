"""Deletes finished speech after its time, and temporary files that a killed process left."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from pathlib import Path
from typing import Final

from core.storage import Storage

logger = logging.getLogger(__name__)

EVERY_SECONDS: Final = 600.0
TEMPORARY_SECONDS: Final = 86_400.0
"""A temporary file of this age belongs to nobody: no upload takes so long."""


async def keep_swept(storage: Storage, keep_seconds: float) -> None:
    """Sweep now and then, until cancelled."""
    while True:
        try:
            count = await asyncio.to_thread(sweep, storage, keep_seconds, time.time())
        except OSError as error:
            logger.warning("Old speech could not be deleted: %s", error)
        else:
            if count:
                logger.info("Deleted %d old recordings.", count)
        await asyncio.sleep(EVERY_SECONDS)


def sweep(storage: Storage, keep_seconds: float, now: float) -> int:
    """Delete what is older; how many things that were. Several processes may sweep at once."""
    old = _older(storage.path("speech"), now - keep_seconds) + _older(storage.path("audio"), now - keep_seconds)
    old += _older(storage.root / ".tmp", now - TEMPORARY_SECONDS)
    for path in old:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(old)


def _older(folder: Path, than: float) -> list[Path]:
    if not folder.is_dir():
        return []
    found = []
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < than:
                found.append(path)
        except FileNotFoundError:  # deleted by another sweeper
            continue
    return found
