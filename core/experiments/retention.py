"""Deletion by age and by disk budget: never of what a voice uses, nor of what is under way or paused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Self

from common import storage_keys
from core.errors import Conflict, NotFound
from core.records import Records
from core.settings import Settings
from core.storage import Storage

logger = logging.getLogger(__name__)

DAY: Final = 86_400.0
ORPHAN_SECONDS: Final = DAY
"""A folder of this age without a record was left by a process that died while it deleted."""
_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long and how much is kept; 0 means forever, and without a limit."""

    task_seconds: float = 0.0
    """Ended tasks, since their end."""
    experiment_seconds: float = 0.0
    """Experiments in expert mode, since their last change."""
    log_seconds: float = 0.0
    """Logs of jobs that belong to neither."""
    bytes: int = 0
    """Of all artifacts; above that the oldest ended experiments are deleted first."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the policy that the settings describe, in days and gigabytes."""
        return cls(
            task_seconds=settings.task_retention_days * DAY,
            experiment_seconds=settings.experiment_retention_days * DAY,
            log_seconds=settings.log_retention_days * DAY,
            bytes=round(settings.disk_budget_gb * 1e9),
        )


KEEP_ALL: Final = RetentionPolicy()


class Retention:
    """Deletes ended experiments. The supervisors call `clean` now and then, several possibly at the same time."""

    def __init__(
        self,
        records: Records,
        storage: Storage | None,
        delete_experiment: Callable[[str], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self.records = records
        self.storage = storage
        self.delete_experiment = delete_experiment
        self.clock = clock

    async def clean(self, policy: RetentionPolicy) -> int:
        """Delete what the policy does not keep and return how many experiments, those of tasks included."""
        deleted = 0
        if policy.task_seconds:
            deleted += await self._delete_older(policy.task_seconds, of_tasks=True)
        if policy.experiment_seconds:
            deleted += await self._delete_older(policy.experiment_seconds, of_tasks=False)
        if self.storage is not None:
            if policy.bytes:
                deleted += await self._delete_above(policy.bytes, self.storage)
            await self._delete_orphans(self.storage, policy.log_seconds)
        if deleted:
            logger.info("Cleaned up %d tasks and experiments.", deleted)
        return deleted

    async def _delete_older(self, seconds: float, *, of_tasks: bool) -> int:
        deleted, after = 0, None
        while batch := await self.records.experiments.ended(
            _BATCH, after=after, before=self.clock() - seconds, of_tasks=of_tasks
        ):
            after = batch[-1]
            deleted += sum([await self._delete_unless_needed(experiment.id) for experiment in batch])
        return deleted

    async def _delete_above(self, budget: int, storage: Storage) -> int:
        deleted, after = 0, None
        used = await asyncio.to_thread(storage.used_bytes)
        while used > budget:
            batch = await self.records.experiments.ended(1, after=after)
            if not batch:
                logger.warning("%.1f GB are used of %.1f GB, and all of it is in use.", used / 1e9, budget / 1e9)
                break
            after = batch[-1]
            if await self._delete_unless_needed(after.id):
                deleted += 1
                used = await asyncio.to_thread(storage.used_bytes)
        return deleted

    async def _delete_unless_needed(self, exp_id: str) -> bool:
        try:
            await self.delete_experiment(exp_id)
        except (Conflict, NotFound) as error:  # begun again or deleted meanwhile; or a voice needs it
            logger.debug("Kept %s: %s.", exp_id, error.message)
            return False
        return True

    async def _delete_orphans(self, storage: Storage, log_seconds: float) -> None:
        """Delete old logs, and folders without a record; nothing while there is no record at all."""
        ids = await self.records.experiments.ids()
        if not ids:  # more likely the wrong database than an emptied one
            return
        now = self.clock()
        await asyncio.to_thread(storage.sweep, storage_keys.EXPERIMENTS, now - ORPHAN_SECONDS, ids)
        if log_seconds:
            await asyncio.to_thread(storage.sweep, storage_keys.LOGS, now - log_seconds, ids)
