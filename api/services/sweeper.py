"""Deletes finished speech after its time, and temporary files that a killed process left."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from core.errors import StorageUnavailable
from core.storage import Storage

logger = logging.getLogger(__name__)

EVERY_SECONDS: Final = 600.0
TEMPORARY_SECONDS: Final = 86_400.0
"""A temporary file of this age belongs to nobody: no upload takes so long."""
UPLOAD_SECONDS: Final = 7 * 86_400.0
"""How long the files of an import wait for their job."""


async def keep_swept(storage: Storage, keep_seconds: float) -> None:
    """Sweep now and then, until cancelled."""
    while True:
        try:
            count = await asyncio.to_thread(sweep, storage, keep_seconds, time.time())
        except (OSError, StorageUnavailable) as error:
            logger.warning("Old speech could not be deleted: %s", error)
        else:
            if count:
                logger.info("Deleted %d old recordings.", count)
        await asyncio.sleep(EVERY_SECONDS)


def sweep(storage: Storage, keep_seconds: float, now: float) -> int:
    """Delete what is older; how many things that were. Several processes may sweep at once."""
    return (
        storage.sweep("speech", now - keep_seconds)
        + storage.sweep("audio", now - keep_seconds)
        + storage.sweep("inference", now - keep_seconds)
        + storage.sweep("imports", now - UPLOAD_SECONDS)
        + storage.sweep_temporary(now - TEMPORARY_SECONDS)
    )
