"""The release ids of voices, as `main.py registry show` has them."""

from __future__ import annotations

from collections.abc import Collection

import orjson

from core.errors import Conflict, NotFound
from core.records import Records, VoiceRecord
from core.settings import Settings
from core.storage import Storage
from recovery.backup.release_ids import ReleaseRegistry


class VoiceReleases:
    """Computes each release once, until the voice changes; the hashes of weights are those of their records."""

    def __init__(self, settings: Settings, records: Records, storage: Storage) -> None:
        self._registry = ReleaseRegistry(settings, trusts_records=True)
        self._records = records
        self._storage = storage
        self._ids: dict[str, tuple[str, str | None]] = {}
        """Voice → what it was when its id was computed, and the id."""

    async def of(self, voices: Collection[VoiceRecord]) -> dict[str, str | None]:
        """Return the release id of each voice, by the voice's id; None for one that lacks a file."""
        for voice in {voice.id: voice for voice in voices}.values():
            stamp = voice.stamp + orjson.dumps(voice.pronunciations, option=orjson.OPT_SORT_KEYS).decode()
            if self._ids.get(voice.id, ("", None))[0] != stamp:
                self._ids[voice.id] = (stamp, await self._compute(voice))
        return {voice.id: self._ids[voice.id][1] for voice in voices}

    async def _compute(self, voice: VoiceRecord) -> str | None:
        try:
            return (await self._registry.release(voice, self._records, self._storage)).id
        except (Conflict, NotFound):
            return None
