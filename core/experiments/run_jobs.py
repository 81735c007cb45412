"""The jobs of stage runs: the run of a stage is the job `<experiment>.<stage>.<run>` of the role that runs it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from core.errors import Conflict, QueueUnavailable, TimedOut
from core.jobs.devices import ANY, DEFAULT_GPU_NUMBERS, check_constraint, parse_device, prefer_gpus, worker_devices
from core.jobs.events import Events
from core.jobs.job import NewJob
from core.jobs.queue import AsyncQueue
from core.jobs.roles import TRAINER
from core.records import ExperimentRecord, StageRecord, dataset_version_job_id
from core.stages.run_payload import StageRunPayload
from core.stages.stage import STAGES
from core.stages.status import StageStatus

logger = logging.getLogger(__name__)

STOPPING_SECONDS: Final = 8.0
"""How long to wait for a cancelled job; its worker ends itself sooner."""


class RunJobs:
    """Enqueues, cancels and waits for the jobs of stage runs."""

    def __init__(self, queue: AsyncQueue, events: Events, clock: Callable[[], float]) -> None:
        self.queue = queue
        self.events = events
        self.clock = clock

    async def enqueue(
        self,
        experiment: ExperimentRecord,
        run: StageRecord,
        delay_seconds: float = 0.0,
        *,
        awaited: Sequence[StageRecord] = (),
    ) -> None:
        """Enqueue the job of a run, not before its time; a job that exists already stays as it is.

        The first stages wait for the job that makes the version of the data set, and a run for those of the
        `awaited` runs that are in its basis. A training goes to the
        device that its run, its experiment or `gpu_numbers` name; other stages run anywhere.
        """
        stage = STAGES[run.stage]
        device = ANY
        if stage.role == TRAINER:
            device = run.device or experiment.device
            if not device and experiment.gpu_numbers != DEFAULT_GPU_NUMBERS:
                device = prefer_gpus(experiment.gpu_numbers, worker_devices(await self.queue.workers()))
        depends_on = tuple(other.job_id for other in awaited if run.basis.get(other.stage) == other.run)
        if experiment.dataset_id is not None and experiment.dataset_version is not None and not stage.needs:
            depends_on += (dataset_version_job_id(experiment.dataset_id, experiment.dataset_version),)
        job = NewJob(
            role=stage.role,
            payload=StageRunPayload(experiment_id=run.exp_id, stage=run.stage, run=run.run).model_dump(),
            job_id=run.job_id,
            priority=experiment.priority,
            topic=experiment.topic,
            delay_seconds=max(delay_seconds, (run.schedule_at or 0.0) - self.clock(), 0.0),
            depends_on=depends_on,
            device=device,
            owner=experiment.owner or "",
        )
        await self.queue.enqueue(job)

    async def enqueue_or_defer(self, experiment: ExperimentRecord, runs: Iterable[StageRecord]) -> None:
        """Enqueue runs; without Redis they wait in the records until the reconciler finds them."""
        try:
            for run in runs:
                await self.enqueue(experiment, run)
        except QueueUnavailable:
            logger.warning("The queue is away; the next stage of %s begins when it is back.", experiment.id)

    async def cancel(self, runs: Iterable[StageRecord]) -> None:
        """Cancel the jobs of runs, each of which may have ended."""
        for run in runs:
            await self.queue.cancel(run.job_id)

    async def wait_until_stopped(self, run: StageRecord) -> None:
        """Wait until the worker of a cancelled, paused or failed run has left its folder.

        Raises:
            Conflict: it is still at work after `STOPPING_SECONDS`.
        """
        if run.status not in (StageStatus.CANCELLED, StageStatus.PAUSED, StageStatus.FAILED):
            return
        job = await self.queue.job(run.job_id)
        if job is None or job.status.terminal:
            return
        try:
            await self.events.wait(run.job_id, STOPPING_SECONDS)
        except TimedOut:
            raise Conflict(f"{run.stage} of {run.exp_id} is still stopping", hint="Try again in a moment.") from None

    async def check_device(self, device: str | None) -> str:
        """Return the device constraint that a user named.

        Raises:
            InvalidParameter: it is no device.
            InvalidRequest: no worker offers it.
        """
        constraint = parse_device(device)
        if constraint:
            check_constraint(constraint, worker_devices(await self.queue.workers()))
        return constraint
