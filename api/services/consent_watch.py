"""Consents that end while somebody listens: the speech with their voices is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from api.services.live_speech import LiveSpeech
from core.cancellation import cancel_and_wait
from core.errors import SovitsError
from core.records import Records

logger = logging.getLogger(__name__)


class SpeechConsentWatch:
    """Looks every few seconds whether the speakers still agree whose voices are being heard."""

    def __init__(self, records: Records, check_seconds: float) -> None:
        self._records = records
        self._check_seconds = check_seconds
        self._speeches: set[LiveSpeech] = set()
        self._watching: asyncio.Task[None] | None = None

    @contextmanager
    def watch(self, speech: LiveSpeech) -> Iterator[None]:
        """Abort a speech with ConsentMissing when the consent of one of its voices ends while the block runs."""
        self._speeches.add(speech)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self._speeches.discard(speech)

    async def close(self) -> None:
        """Watch no more."""
        if self._watching is not None:
            await cancel_and_wait(self._watching)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._check_seconds)
            try:
                voice_ids = {voice_id for speech in self._speeches for voice_id in speech.voice_ids}
                ended = await self._records.consents.ended(voice_ids)
            except SovitsError as error:
                logger.warning("Whether speakers still agree is not known now: %s", error.message)
                continue
            for speech in list(self._speeches):
                if ending := next((ended[voice_id] for voice_id in speech.voice_ids if voice_id in ended), None):
                    logger.info("Stopping the speech %s: %s", speech.id, ending.message)
                    speech.abort(ending)
