"""Mend what a crash left between the records and the queue."""

from __future__ import annotations

import logging
from typing import Any, Final

from core.errors import JobCancelled, NotFound
from core.experiments.reports import Reports
from core.experiments.rules import cancel, cancel_everything, pause, summarise
from core.jobs.job import Job, JobStatus
from core.records import StageRecord
from core.stages.stage import StageStatus

logger = logging.getLogger(__name__)

_BATCH: Final = 100
"""Queued runs looked at in one go; the next call looks at those behind them."""
_NO_REASON: Final[dict[str, Any]] = {
    "code": "internal_error",
    "message": "The job died without a reason.",
    "hint": "",
}


class Reconciliation(Reports):
    """The supervisor calls `reconcile` at its start and every few seconds; workers and API need not."""

    _last_queued: str = ""

    async def reconcile(self) -> int:
        """How many runs and tasks were mended. QueueUnavailable when Redis is away: try again later."""
        under_way = (StageStatus.RUNNING, StageStatus.INTERRUPTED)
        mended = await self._mend(await self.records.active_stages(1000, statuses=under_way))
        while batch := await self.records.active_stages(_BATCH, self._last_queued, (StageStatus.QUEUED,)):
            self._last_queued = batch[-1].exp_id
            mended_here = await self._mend(batch)
            mended += mended_here
            # Most of them mended means that Redis forgot: go on at once. Else the rest can wait their turn.
            if mended_here < _BATCH / 2:
                break
        else:
            self._last_queued = ""
        for task in await self.records.idle_tasks(_BATCH):
            await self.advance(task.exp_id)
            mended += 1
        if mended:
            logger.info("Mended %d stages and tasks.", mended)
        return mended

    async def _mend(self, runs: list[StageRecord]) -> int:
        mended = 0
        for run in runs:
            try:
                mended += await self._mend_run(run)
            except (JobCancelled, NotFound) as gone:  # cancelled or deleted while we looked
                logger.info("Left %s alone: %s.", run.job_id, gone.message)
        return mended

    async def _mend_run(self, run: StageRecord) -> bool:
        """A run that should have a job: give it one, or draw the conclusion from the one it has."""
        job = await self.queue.job(run.job_id)
        if job is None:
            await self._enqueue_again(run)
        elif job.status is JobStatus.DEAD:
            await self.stage_failed(run.exp_id, run.stage, run.run, job.error or _NO_REASON)
        elif job.status is JobStatus.DONE:
            await self.stage_completed(run.exp_id, run.stage, run.run, job.result or {})
        elif job.status is JobStatus.CANCELLED:
            await self._cancelled(run)
        elif run.status is StageStatus.RUNNING and job.status is not JobStatus.PROCESSING:
            await self._interrupted(run, job)
        else:
            return False
        return True

    async def _enqueue_again(self, run: StageRecord) -> None:
        """Redis lost the job, or whoever recorded the run died before the job was made."""
        async with self.records.change(run.exp_id) as change:
            record = change.stage(run.stage)
            if record.run != run.run or not record.status.active:
                return
            if record.status is StageStatus.RUNNING:
                record = change.set_stage(
                    run.stage, status=StageStatus.INTERRUPTED, message="Interrupted; a worker will go on."
                )
                summarise(change)
        due = change.task.schedule_at if change.task is not None else None
        await self.enqueue_run(change.experiment, record, max(0.0, (due or 0.0) - self.clock()))
        logger.info("Enqueued %s again.", record.job_id)

    async def _interrupted(self, run: StageRecord, job: Job) -> None:
        """Its worker died, drained or failed; the job waits for the next one."""
        message = "Interrupted; a worker will go on."
        if job.status is JobStatus.DELAYED and job.error is not None:
            message = f"Trying again after an error: {job.error.get('message', '')}"
        async with self.records.change(run.exp_id) as change:
            record = change.stage(run.stage)
            if record.run != run.run or record.status is not StageStatus.RUNNING:
                return
            pauses = record.control == "pause"  # and nobody is left who could be asked to
            if pauses:
                record = pause(change, run.stage)
            else:
                record = change.set_stage(run.stage, status=StageStatus.INTERRUPTED, message=message)
            summarise(change)
        if pauses:
            await self.cancel_jobs([record])

    async def _cancelled(self, run: StageRecord) -> None:
        """Somebody cancelled the job itself (`main.py queue cancel`): so ends its stage, and its task."""
        async with self.records.change(run.exp_id) as change:
            record = change.stage(run.stage)
            if record.run != run.run or not record.status.active:
                return
            ends_now = change.task is not None and not change.task.status.terminal
            others = cancel_everything(change) if ends_now else []
            cancel(change, run.stage)
            summarise(change)
        await self.cancel_jobs(others)
        if ends_now and change.task is not None:
            await self.publish_end(change.task)
