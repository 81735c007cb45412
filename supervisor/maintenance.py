"""What keeps jobs moving on a host: reaping, promoting, reconciling, and the jobs of the dead."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from core.errors import QueueUnavailable
from core.experiments.retention import KEEP_ALL, RetentionPolicy
from core.experiments.service import ExperimentService
from core.jobs.job import JobStatus
from core.jobs.queue import AsyncQueue, Rescued
from core.process import is_alive

logger = logging.getLogger(__name__)

REAP_SECONDS = 5.0
PROMOTE_SECONDS = 1.0
RECONCILE_SECONDS = 5.0
CLEAN_SECONDS = 600.0
BURIAL_SECONDS = 10.0
"""How long a dead worker's jobs wait for a queue that is away; after that their leases run out anyway."""


@dataclass(frozen=True, slots=True)
class Chore:
    """Something else that is done again and again."""

    name: str
    """As log lines call it: `sending webhooks`."""
    seconds: float
    """Between two times."""
    action: Callable[[], Awaitable[object]]


class Upkeep:
    """The loops; each survives a queue or a database that is away."""

    def __init__(
        self,
        queue: AsyncQueue,
        experiments: ExperimentService,
        keep: RetentionPolicy = KEEP_ALL,
        chores: Sequence[Chore] = (),
    ) -> None:
        self.queue = queue
        self.experiments = experiments
        self.keep = keep
        self.chores = chores

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        return [
            self._repeat("reaping", REAP_SECONDS, self.reap),
            self._repeat("promoting", PROMOTE_SECONDS, self.promote),
            self._repeat("reconciling", RECONCILE_SECONDS, self.experiments.reconciler.reconcile),
            self._repeat("cleaning up", CLEAN_SECONDS, partial(self.experiments.retention.clean, self.keep)),
            *(self._repeat(chore.name, chore.seconds, chore.action) for chore in self.chores),
        ]

    async def recover(self) -> None:
        """Hand back what workers of this host held when they died without anyone to bury them."""
        for worker in await self.queue.workers():
            if worker.host != os.uname().nodename:
                continue
            if not is_alive(worker.pid, mark=worker.id.rpartition("-")[2]):
                await self.bury(worker.id)

    async def bury(self, worker_id: str) -> None:
        """A worker of this host is dead: its jobs go back at once."""
        deadline = asyncio.get_running_loop().time() + BURIAL_SECONDS
        while True:
            try:
                await self._take_back(await self.queue.rescue_worker(worker_id))
                await self.queue.forget_worker(worker_id)
                return
            except QueueUnavailable as error:
                if asyncio.get_running_loop().time() > deadline:
                    logger.warning("The jobs of %s wait for their leases to end: %s", worker_id, error.message)
                    return
            await asyncio.sleep(0.2)

    async def reap(self) -> None:
        await self._take_back(await self.queue.reap())

    async def promote(self) -> None:
        await self.queue.promote()

    async def _take_back(self, rescued: Iterable[Rescued]) -> None:
        rescued = list(rescued)
        if not rescued:
            return
        logger.info("Recovered %d pending tasks from processing queue.", len(rescued))
        for job in rescued:
            if job.status is JobStatus.DEAD:
                logger.error("The job %s killed its workers, moving to dead letter queue.", job.job_id)
        if any(job.status is JobStatus.DEAD for job in rescued):
            await self.experiments.reconciler.reconcile()

    async def _repeat(self, name: str, seconds: float, action: Callable[[], Awaitable[object]]) -> None:
        """Do it, and again after a pause; a failure is told once until it succeeds again."""
        failing = False
        while True:
            try:
                await action()
                if failing:
                    logger.info("%s works again.", name.capitalize())
                failing = False
            except QueueUnavailable as error:
                if not failing:
                    logger.warning("%s waits for the queue: %s", name.capitalize(), error.message)
                failing = True
            except Exception:
                if not failing:
                    logger.exception("%s failed; trying again.", name.capitalize())
                failing = True
            await asyncio.sleep(seconds)
