"""Repair of what a crash left different between the records and the queue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from core.errors import ErrorData, JobCancelled, NotFound
from core.experiments.lifecycle import (
    cancel_run,
    cancel_task,
    open_task,
    pause_run,
    unfinished_prerequisites,
    update_summary,
)
from core.experiments.notifier import Notifier
from core.experiments.run_jobs import RunJobs
from core.experiments.runs import StageRuns
from core.experiments.scheduler import StageScheduler
from core.jobs.job import Job, JobStatus
from core.records import Records, StageRecord
from core.stages.status import StageStatus

logger = logging.getLogger(__name__)

_BATCH: Final = 100
"""Queued runs examined at once; the next call examines those behind them."""
_NO_REASON: Final[ErrorData] = {
    "code": "internal_error",
    "message": "The job died without a reason.",
    "hint": "",
}
_INTERRUPTED: Final = "Interrupted; a worker will go on."


class Reconciler:
    """Compares active runs with their jobs. The supervisor calls `reconcile` at its start and every few seconds."""

    def __init__(
        self,
        records: Records,
        jobs: RunJobs,
        notifier: Notifier,
        scheduler: StageScheduler,
        runs: StageRuns,
        clock: Callable[[], float],
    ) -> None:
        self.records = records
        self.jobs = jobs
        self.notifier = notifier
        self.scheduler = scheduler
        self.runs = runs
        self.clock = clock
        self._last_queued = ""

    async def reconcile(self) -> int:
        """Repair runs and tasks and return how many.

        Raises:
            QueueUnavailable: Redis is away; try again later.
        """
        under_way = (StageStatus.RUNNING, StageStatus.INTERRUPTED)
        repaired = await self._repair_runs(await self.records.stages.active(1000, statuses=under_way))
        while batch := await self.records.stages.active(_BATCH, self._last_queued, (StageStatus.QUEUED,)):
            self._last_queued = batch[-1].exp_id
            repaired_of_batch = await self._repair_runs(batch)
            repaired += repaired_of_batch
            # When most needed repair, Redis has lost its data: go on at once. Else the rest can wait for the next call.
            if repaired_of_batch < _BATCH / 2:
                break
        else:
            self._last_queued = ""
        for task in await self.records.tasks.stalled(_BATCH):
            await self.scheduler.advance(task.exp_id)
            repaired += 1
        if repaired:
            logger.info("Mended %d stages and tasks.", repaired)
        return repaired

    async def _repair_runs(self, runs: list[StageRecord]) -> int:
        repaired = 0
        for run in runs:
            try:
                repaired += await self._repair_run(run)
            except (JobCancelled, NotFound) as error:  # cancelled or deleted meanwhile
                logger.info("Left %s alone: %s.", run.job_id, error.message)
        return repaired

    async def _repair_run(self, run: StageRecord) -> bool:
        """Give an active run a job if it has none, else record how its job ended; whether anything was done."""
        job = await self.jobs.queue.job(run.job_id)
        if job is None:
            await self._enqueue_again(run)
        elif job.status is JobStatus.DEAD:
            await self.runs.fail(run.exp_id, run.stage, run.run, job.error or _NO_REASON)
        elif job.status is JobStatus.DONE:
            await self.runs.complete(run.exp_id, run.stage, run.run, job.result or {})
        elif job.status is JobStatus.CANCELLED:
            await self._record_cancellation(run)
        elif run.status is StageStatus.RUNNING and job.status is not JobStatus.PROCESSING:
            await self._record_interruption(run, job)
        else:
            return False
        return True

    async def _enqueue_again(self, run: StageRecord) -> None:
        """Enqueue a run whose job Redis lost, or whose process died before it enqueued the job."""
        async with self.records.experiments.transaction(run.exp_id) as transaction:
            record = transaction.stage(run.stage)
            if record.run != run.run or not record.status.active:
                return
            if record.status is StageStatus.RUNNING:
                record = transaction.set_stage(run.stage, status=StageStatus.INTERRUPTED, message=_INTERRUPTED)
                update_summary(transaction)
            awaited = unfinished_prerequisites(transaction, record)
        due = transaction.task.schedule_at if transaction.task is not None else None
        for prerequisite in awaited:  # first, so that the run's job can depend on it
            if prerequisite.status.active:
                await self.jobs.enqueue(transaction.experiment, prerequisite, awaited=awaited)
        delay = max(0.0, (due or 0.0) - self.clock())
        await self.jobs.enqueue(transaction.experiment, record, delay, awaited=awaited)
        logger.info("Enqueued %s again.", record.job_id)

    async def _record_interruption(self, run: StageRecord, job: Job) -> None:
        """Record that a run's worker died, drained or failed, and that its job waits for the next one."""
        message = _INTERRUPTED
        if job.status is JobStatus.DELAYED and job.error is not None:
            message = f"Trying again after an error: {job.error.get('message', '')}"
        async with self.records.experiments.transaction(run.exp_id) as transaction:
            record = transaction.stage(run.stage)
            if record.run != run.run or record.status is not StageStatus.RUNNING:
                return
            pauses = record.control == "pause"  # no worker is left that could do it
            if pauses:
                record = pause_run(transaction, run.stage)
            else:
                record = transaction.set_stage(run.stage, status=StageStatus.INTERRUPTED, message=message)
            update_summary(transaction)
        if pauses:
            await self.jobs.cancel([record])

    async def _record_cancellation(self, run: StageRecord) -> None:
        """Cancel the stage, and the task, of a job that was cancelled itself (`main.py queue cancel`)."""
        async with self.records.experiments.transaction(run.exp_id) as transaction:
            record = transaction.stage(run.stage)
            if record.run != run.run or not record.status.active:
                return
            ends_now = open_task(transaction) is not None
            cancelled = cancel_task(transaction) if ends_now else []
            cancel_run(transaction, run.stage)
            update_summary(transaction)
        await self.jobs.cancel(cancelled)
        if ends_now and transaction.task is not None:
            await self.notifier.task_ended(transaction.task)
