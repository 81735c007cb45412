"""Records of what was spoken, written behind the streams: no listener waits for the database."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from core.errors import SovitsError
from core.records import NewProvenance, Records
from core.settings import Settings

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 5.0
MAX_TOGETHER: Final = 200
MAX_WAITING: Final = 20_000
"""Records that are kept while the database is away; of more, the oldest are lost, which is logged."""


class ProvenanceLog:
    """Writes a record for each speech of this process, soon after it has ended."""

    def __init__(self, settings: Settings, records: Records) -> None:
        self._enabled = settings.provenance_days > 0
        self._keep_text = settings.provenance_text == "text"
        self._records = records
        self._waiting: list[NewProvenance] = []
        self._writing: asyncio.Task[None] | None = None
        self._closing = False

    def note(self, speech: NewProvenance) -> None:
        """Have a speech recorded; return at once."""
        if not self._enabled:
            return
        self._waiting.append(speech)
        if len(self._waiting) > MAX_WAITING:
            lost = self._waiting.pop(0)
            logger.error("The record of the speech %s is lost: the database was away for too long.", lost.request_id)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write what waits, once."""
        self._closing = True
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        failing = False
        while self._waiting:
            batch = self._waiting[:MAX_TOGETHER]
            try:
                await self._records.provenance.add(batch, keep_text=self._keep_text)
            except SovitsError as error:
                if not failing:
                    logger.warning("What was spoken is recorded later: %s", error.message)
                failing = True
                if self._closing:
                    return
                await asyncio.sleep(RETRY_SECONDS)
            else:
                failing = False
                del self._waiting[: len(batch)]
