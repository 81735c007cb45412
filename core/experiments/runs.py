"""What workers report about the stage runs that they execute."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from common.json_types import JsonObject
from common.progress_messages import progress_message
from core.errors import ErrorData, JobCancelled, NotFound, NotReady
from core.experiments.lifecycle import (
    cancel_run,
    experiment_progress,
    fail_run,
    fail_task,
    open_task,
    pause_run,
    queue_next,
    unfinished_prerequisites,
    update_summary,
    waiting_runs,
)
from core.experiments.notifier import Notifier
from core.experiments.run_jobs import RunJobs
from core.experiments.scheduler import StageScheduler
from core.experiments.voice_publisher import VoicePublisher
from core.jobs.job import JobStatus
from core.records import STEPWISE_DIALECT, ExperimentRecord, ExperimentTransaction, Records, StageRecord, TaskStatus
from core.stages.outputs import CompletedOutputs, PreviewOutput
from core.stages.parameters import StageConfig
from core.stages.status import StageStatus

logger = logging.getLogger(__name__)

REUSED = progress_message("completed_before")
_NEVER_STARTS = (StageStatus.PENDING, StageStatus.CANCELLED, StageStatus.PAUSED, StageStatus.STALE)


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A stage run that a worker may execute."""

    experiment: ExperimentRecord
    record: StageRecord
    outputs: CompletedOutputs

    @property
    def config(self) -> StageConfig:
        """The stage's parameters, defaults filled in."""
        return self.record.config

    @property
    def completed_outputs(self) -> JsonObject | None:
        """The outputs of a run that was completed before; None when there is work to do."""
        return self.record.outputs if self.record.status is StageStatus.COMPLETED else None


class StageRuns:
    """Records start, progress and end of runs. Each method raises JobCancelled when the run is no longer to go on."""

    def __init__(
        self,
        records: Records,
        jobs: RunJobs,
        notifier: Notifier,
        scheduler: StageScheduler,
        voices: VoicePublisher,
    ) -> None:
        self.records = records
        self.jobs = jobs
        self.notifier = notifier
        self.scheduler = scheduler
        self.voices = voices

    async def start(self, exp_id: str, stage: str, run: int) -> StartedRun:
        """Record that a run has started and return what the worker needs.

        A run that is completed already (its worker died before its acknowledgment) is returned with its outputs. A
        rescued job starts again; a replayed dead letter revives its failed stage and task.
        """
        async with self._transaction(exp_id) as transaction:
            record = _newest_run(transaction, stage, run)
            if record.status is StageStatus.COMPLETED:
                return StartedRun(transaction.experiment, record, _completed_outputs(transaction))
            if record.status in _NEVER_STARTS:
                raise JobCancelled(f"run {run} of {stage} is {record.status}")
            unfinished = unfinished_prerequisites(transaction, record)
            pauses = record.control == "pause"  # its worker died before it could pause
            queued: list[StageRecord] = []
            if not unfinished:
                record = pause_run(transaction, stage) if pauses else _mark_running(transaction, record)
                queued, _ = queue_next(transaction)
        if unfinished:
            await self._end_without(record, unfinished[0])
        if pauses:
            await self.jobs.cancel([record])
            raise JobCancelled(f"run {run} of {stage} is paused")
        await self.jobs.enqueue_or_defer(transaction.experiment, queued)
        await self.notifier.log(transaction.experiment, f"{stage} started.", stage=stage)
        await self.notifier.progress(transaction, record)
        return StartedRun(transaction.experiment, record, _completed_outputs(transaction))

    async def update_progress(
        self, exp_id: str, stage: str, run: int, fraction: float, message: str = "", **metrics: float
    ) -> float:
        """Record progress (0 to 1 of the stage) and return the overall progress, for the caller's own event.

        One small transaction: call it about once a second. `metrics`: epoch, total_epochs, loss…
        """
        async with self._transaction(exp_id) as transaction:
            record = _newest_run(transaction, stage, run)
            if record.status not in (StageStatus.RUNNING, StageStatus.INTERRUPTED):
                raise JobCancelled(f"run {run} of {stage} is {record.status}")
            transaction.set_stage(
                stage,
                status=StageStatus.RUNNING,
                progress=min(1.0, max(0.0, fraction)),
                message=message or record.message,
                metrics={**record.metrics, **metrics},
            )
            update_summary(transaction)
        return experiment_progress(transaction.stages, transaction.experiment.version)

    async def update_previews(self, exp_id: str, stage: str, run: int, previews: Sequence[PreviewOutput]) -> None:
        """Record what a training has spoken so far."""
        async with self._transaction(exp_id) as transaction:
            _newest_run(transaction, stage, run)
            transaction.set_stage(stage, previews=list(previews))

    async def requested_control(self, exp_id: str, stage: str, run: int) -> str:
        """Return what a user requested of a training: `stop_after_epoch`, `pause` or an empty string."""
        record = await self.records.stages.get(exp_id, stage)
        return record.control if record.run == run else ""

    async def complete(self, exp_id: str, stage: str, run: int, outputs: Mapping[str, object]) -> None:
        """Record the outputs of a run and begin what follows; the last stage of a task publishes the voice.

        Call it before the job's acknowledgment. Outputs that are read here: `checkpoint_id` of sovits_train and
        gpt_train, `prompt` `{audio: storage key, text, language}` of asr, `prompt_tokens` of semantic_token.
        """
        async with self._transaction(exp_id) as transaction:
            record = _newest_run(transaction, stage, run)
            completes_now = record.status is not StageStatus.COMPLETED
            if completes_now and not record.status.active:
                raise JobCancelled(f"run {run} of {stage} is {record.status}")
            if completes_now:
                record = transaction.set_stage(
                    stage,
                    status=StageStatus.COMPLETED,
                    progress=1.0,
                    message=REUSED if outputs.get("reused") else progress_message("completed"),
                    outputs=dict(outputs),
                    error=None,
                    control="",
                    completed_at=transaction.now,
                )
            queued, task_done = queue_next(transaction)
        if completes_now:
            await self.notifier.log(transaction.experiment, f"{stage} completed.", stage=stage)
            await self.notifier.progress(transaction, record)
        await self.jobs.enqueue_or_defer(transaction.experiment, queued)
        if task_done:
            await self.scheduler.complete_task(exp_id)
        elif completes_now and transaction.experiment.dialect == STEPWISE_DIALECT:
            await self.voices.publish_after_training(transaction.experiment, stage)

    async def fail(self, exp_id: str, stage: str, run: int, error: ErrorData) -> None:
        """Record that a run failed for good, and its task with it; a run that has ended stays as it is.

        `error`: `{code, message, hint}`.
        """
        async with self._transaction(exp_id) as transaction:
            record = transaction.stage(stage)
            if record.run != run or not record.status.active:
                return
            waiting = waiting_runs(transaction, stage)
            record = fail_run(transaction, stage, error)
            ends_now = open_task(transaction) is not None
            siblings = fail_task(transaction, error)
            update_summary(transaction)
        logger.error("Stage %s of %s failed: %s", stage, exp_id, record.message)
        await self.jobs.cancel([*siblings, *waiting])
        await self.notifier.log(transaction.experiment, f"{stage} failed: {record.message}", level="ERROR", stage=stage)
        if ends_now and transaction.task is not None:
            await self.notifier.task_ended(transaction.task)

    async def _end_without(self, run: StageRecord, prerequisite: StageRecord) -> None:
        """End a run like the one that was begun by itself for it, and raise JobCancelled.

        The reconciler may not have recorded yet how that one ended; its job says it.

        Raises:
            NotReady: it has not ended, because its job was lost with Redis and begins again.
        """
        job = await self.jobs.queue.job(prerequisite.job_id)
        error = prerequisite.error or (job.error if job is not None and job.status is JobStatus.DEAD else None)
        if error is not None:
            await self.fail(run.exp_id, run.stage, run.run, error)
            raise JobCancelled(f"{prerequisite.stage}, which {run.stage} needs, failed")
        if prerequisite.status is StageStatus.CANCELLED or (job is not None and job.status is JobStatus.CANCELLED):
            async with self._transaction(run.exp_id) as transaction:
                if transaction.stage(run.stage).run == run.run:
                    cancel_run(transaction, run.stage)
                    update_summary(transaction)
            raise JobCancelled(f"{prerequisite.stage}, which {run.stage} needs, was cancelled")
        raise NotReady(f"{prerequisite.stage}, which {run.stage} needs, is still under way.", hint="Wait a moment.")

    async def pause(self, exp_id: str, stage: str, run: int) -> None:
        """Record that a training saved its state and stopped; the run that resumes works in the same folder.

        The caller raises JobCancelled then: the job of this run is over, the resumed run has its own.
        """
        async with self._transaction(exp_id) as transaction:
            record = _newest_run(transaction, stage, run)
            if record.status.active:
                record = pause_run(transaction, stage)
                update_summary(transaction)
        await self.jobs.cancel([record])
        await self.notifier.log(transaction.experiment, f"{stage} paused.", stage=stage)

    @contextlib.asynccontextmanager
    async def _transaction(self, exp_id: str) -> AsyncIterator[ExperimentTransaction]:
        try:
            async with self.records.experiments.transaction(exp_id) as transaction:
                yield transaction
        except NotFound:
            raise JobCancelled(f"experiment {exp_id} is deleted") from None


def _newest_run(transaction: ExperimentTransaction, stage: str, run: int) -> StageRecord:
    record = transaction.stage(stage)
    if record.run != run:
        raise JobCancelled(f"run {run} of {stage} is not the newest one, {record.run} is")
    return record


def _completed_outputs(transaction: ExperimentTransaction) -> CompletedOutputs:
    runs = transaction.stages.values()
    return cast(CompletedOutputs, {run.stage: run.outputs for run in runs if run.status is StageStatus.COMPLETED})


def _mark_running(transaction: ExperimentTransaction, record: StageRecord) -> StageRecord:
    """Record a run as running; a failed one was replayed from the dead letters and revives its task."""
    started = transaction.set_stage(
        record.stage,
        status=StageStatus.RUNNING,
        error=None,
        message=progress_message("started"),
        started_at=record.started_at or transaction.now,
        completed_at=None,
    )
    if (
        record.status is StageStatus.FAILED
        and transaction.task is not None
        and transaction.task.status is TaskStatus.FAILED
    ):
        transaction.set_task(status=TaskStatus.RUNNING, error=None, completed_at=None)
        for name, run in list(transaction.stages.items()):
            if run.status is StageStatus.CANCELLED:  # by the failure
                transaction.set_stage(name, status=StageStatus.PENDING)
    if transaction.task is not None and transaction.task.started_at is None:
        transaction.set_task(started_at=transaction.now)
    return started
