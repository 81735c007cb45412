"""What is thrown away by age and by disk budget: never what a voice uses, nor what is under way or paused."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final, Self

from core.errors import Conflict, NotFound
from core.experiments.requests import Requests
from core.settings import Settings
from core.storage import Storage

logger = logging.getLogger(__name__)

DAY: Final = 86_400.0
ORPHAN_SECONDS: Final = DAY
"""A folder of this age that no record names was left by a process that died while it deleted."""
_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Keep:
    """How long and how much is kept; 0 means for ever, and without a limit."""

    task_seconds: float = 0.0
    """Tasks that have ended."""
    experiment_seconds: float = 0.0
    """Experiments of experts, counted from their last change."""
    log_seconds: float = 0.0
    """Logs of jobs that belong to neither."""
    bytes: int = 0
    """Of all artefacts; above that the oldest that have ended go first."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(
            task_seconds=settings.task_retention_days * DAY,
            experiment_seconds=settings.experiment_retention_days * DAY,
            log_seconds=settings.log_retention_days * DAY,
            bytes=round(settings.disk_budget_gb * 1e9),
        )


KEEP_ALL: Final = Keep()


class Retention(Requests):
    """The supervisors call `clean` now and then; several may, at the same time."""

    async def clean(self, keep: Keep) -> int:
        """How many experiments, tasks with theirs, were thrown away."""
        cleaned = 0
        if keep.task_seconds:
            cleaned += await self._clean_older(keep.task_seconds, of_tasks=True)
        if keep.experiment_seconds:
            cleaned += await self._clean_older(keep.experiment_seconds, of_tasks=False)
        if keep.bytes and self.storage is not None:
            cleaned += await self._clean_above(keep.bytes, self.storage)
        if self.storage is not None:
            await self._sweep(self.storage, keep.log_seconds)
        if cleaned:
            logger.info("Cleaned up %d tasks and experiments.", cleaned)
        return cleaned

    async def _clean_older(self, seconds: float, *, of_tasks: bool) -> int:
        cleaned, after = 0, None
        while batch := await self.records.ended_experiments(
            _BATCH, after=after, before=self.clock() - seconds, of_tasks=of_tasks
        ):
            after = batch[-1]
            cleaned += sum([await self._throw_away(one.id) for one in batch])
        return cleaned

    async def _clean_above(self, budget: int, storage: Storage) -> int:
        cleaned, after = 0, None
        used = await asyncio.to_thread(storage.used_bytes)
        while used > budget:
            batch = await self.records.ended_experiments(1, after=after)
            if not batch:
                gigabytes = used / 1e9, budget / 1e9
                logger.warning("%.1f GB are used of %.1f GB, and all of it is in use.", *gigabytes)
                break
            after = batch[-1]
            if await self._throw_away(after.id):
                cleaned += 1
                used = await asyncio.to_thread(storage.used_bytes)
        return cleaned

    async def _throw_away(self, exp_id: str) -> bool:
        try:
            await self.delete_experiment(exp_id)
        except (Conflict, NotFound) as kept:  # begun again, or deleted, while we looked; or a voice needs it
            logger.debug("Kept %s: %s.", exp_id, kept.message)
            return False
        return True

    async def _sweep(self, storage: Storage, log_seconds: float) -> None:
        """Folders that no record names any more, and old logs; nothing while there is no record at all."""
        known = await self.records.experiment_ids()
        if not known:  # more likely the wrong database than one that was emptied
            return
        now = self.clock()
        await asyncio.to_thread(storage.sweep, "experiments", now - ORPHAN_SECONDS, known)
        if log_seconds:
            await asyncio.to_thread(storage.sweep, "logs", now - log_seconds, known)
