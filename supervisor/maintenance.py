"""Keep the queue moving on a host: reap, promote, reconcile, clean up, and requeue the jobs of dead workers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from common.operating_system import host_name, is_alive
from core.errors import QueueUnavailable
from core.experiments.retention import KEEP_ALL, RetentionPolicy
from core.experiments.service import ExperimentService
from core.jobs.job import JobStatus, RescuedJob
from core.jobs.queue import AsyncQueue
from core.jobs.worker_process import process_of
from core.primary_lease import NotPrimary
from core.records import Records
from core.settings import Settings

logger = logging.getLogger(__name__)

REAP_SECONDS = 5.0
PROMOTE_SECONDS = 1.0
RECONCILE_SECONDS = 5.0
CLEAN_SECONDS = 600.0
REQUEUE_SECONDS = 0.5
"""Pause between attempts to requeue the jobs of ended workers while Redis is away."""


@dataclass(frozen=True, slots=True)
class PeriodicAction:
    """Something that a supervisor does again and again."""

    name: str
    """As log lines call it: `sending webhooks`."""
    seconds: float
    """Pause after each time."""
    run: Callable[[], Awaitable[object]]


class Maintenance:
    """The periodic actions of a supervisor; each survives a Redis or a database that is away."""

    def __init__(
        self,
        queue: AsyncQueue,
        experiments: ExperimentService,
        retention: RetentionPolicy = KEEP_ALL,
        actions: Sequence[PeriodicAction] = (),
        guard: Callable[[PeriodicAction], PeriodicAction] = lambda action: action,
    ) -> None:
        """`actions` run beside the queue's own; `guard` wraps those that change records and artifacts."""
        self.queue = queue
        self.experiments = experiments
        self._ended_workers: dict[str, bool] = {}
        """Id → whether it crashed, of workers whose jobs could not be requeued yet."""
        self.actions = (
            PeriodicAction("requeueing", REQUEUE_SECONDS, self._requeue),
            PeriodicAction("reaping", REAP_SECONDS, self.reap),
            PeriodicAction("promoting", PROMOTE_SECONDS, queue.promote),
            guard(PeriodicAction("reconciling", RECONCILE_SECONDS, experiments.reconciler.reconcile)),
            guard(PeriodicAction("cleaning up", CLEAN_SECONDS, partial(experiments.retention.clean, retention))),
            *actions,
        )

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """Return one endless coroutine for each action."""
        return [repeat(action) for action in self.actions]

    async def recover(self) -> None:
        """Requeue the jobs of this host's workers that died while no supervisor ran."""
        processes = {process_of(worker.id): worker for worker in await self.queue.workers()}
        for worker_id, worker in processes.items():
            if worker.host == host_name() and not is_alive(worker.pid, mark=worker_id.rpartition("-")[2]):
                await self.requeue_jobs_of(worker_id, crashed=True)

    async def requeue_jobs_of(self, worker_id: str, *, crashed: bool) -> None:
        """Requeue what an ended worker of this host held, now or as soon as the queue is back.

        Only a crash counts as a rescue of its jobs.
        """
        self._ended_workers[worker_id] = crashed
        try:
            await self._requeue()
        except QueueUnavailable as error:
            logger.warning("The jobs of %s are put back when the queue is there again: %s", worker_id, error.message)

    async def _requeue(self) -> None:
        for worker_id, crashed in list(self._ended_workers.items()):
            if crashed:
                await self._report(await self.queue.rescue_worker(worker_id))
            else:
                await self.queue.reconcile(worker_id)
            await self.queue.forget_worker(worker_id)
            self._ended_workers.pop(worker_id, None)

    async def reap(self) -> None:
        """Requeue jobs whose leases expired, on any host."""
        await self._report(await self.queue.reap())

    async def _report(self, rescued: Sequence[RescuedJob]) -> None:
        """Log rescued jobs; tell the records about those that became dead letters as poison."""
        if not rescued:
            return
        logger.info("Recovered %d pending tasks from processing queue.", len(rescued))
        poison = [job for job in rescued if job.status is JobStatus.DEAD]
        for job in poison:
            logger.error("The job %s killed its workers, moving to dead letter queue.", job.job_id)
        if poison:
            await self.experiments.reconciler.reconcile()


async def repeat(action: PeriodicAction) -> None:
    """Run an action for ever; log a failure once until it succeeds again."""
    failing = False
    while True:
        try:
            await action.run()
            if failing:
                logger.info("%s works again.", action.name.capitalize())
            failing = False
        except QueueUnavailable as error:
            if not failing:
                logger.warning("%s waits for the queue: %s", action.name.capitalize(), error.message)
            failing = True
        except NotPrimary as error:
            if not failing:
                logger.warning("%s waits: %s", action.name.capitalize(), error.message)
            failing = True
        except Exception:
            if not failing:
                logger.exception("%s failed; trying again.", action.name.capitalize())
            failing = True
        await asyncio.sleep(action.seconds)


def records_retention(settings: Settings, records: Records) -> tuple[PeriodicAction, ...]:
    """Return what deletes old records of speech; nothing where PROVENANCE_DAYS is 0, which keeps those that exist."""
    seconds = settings.provenance_days * 86_400
    if not seconds:
        return ()

    async def delete_old() -> None:
        count = await records.provenance.delete_before(time.time() - seconds)
        if count:
            logger.info("Deleted %d records of speech from before PROVENANCE_DAYS.", count)

    return (PeriodicAction("deleting old records of speech", CLEAN_SECONDS, delete_old),)
