"""What the roles tell about the stage they run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from core.errors import JobCancelled, NotFound
from core.experiments.base import ServiceBase
from core.experiments.rules import give_up_plan, how_far, pause, summarise
from core.records import STEPS_DOOR, Change, ExperimentRecord, StageRecord, TaskStatus
from core.stages.stage import StageStatus

logger = logging.getLogger(__name__)

REUSED = "Completed: nothing that it is made of had changed, so the result that was there is used."
_NEVER_STARTS = (StageStatus.PENDING, StageStatus.CANCELLED, StageStatus.PAUSED, StageStatus.STALE)


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A stage run that a role may work on."""

    experiment: ExperimentRecord
    record: StageRecord
    outputs: dict[str, dict[str, Any]]
    """What the completed stages left, by stage."""

    @property
    def config(self) -> dict[str, Any]:
        """The stage's parameters, defaults filled in."""
        return self.record.config

    @property
    def outputs_already(self) -> dict[str, Any] | None:
        """The outputs of a run that was completed before; None: there is work to do."""
        return self.record.outputs if self.record.status is StageStatus.COMPLETED else None


class Reports(ServiceBase):
    """Started, progress, completed, failed, paused. JobCancelled whenever the run is no longer wanted."""

    async def stage_started(self, exp_id: str, stage: str, run: int) -> StartedRun:
        """What the role needs; a run already completed (its worker died before its ack) has its outputs.

        A rescued job starts again; a replayed dead letter brings its failed stage and task back to life.
        """
        async with self._change(exp_id) as change:
            record = _the_run(change, stage, run)
            if record.status is StageStatus.COMPLETED:
                return StartedRun(change.experiment, record, _outputs(change))
            if record.status in _NEVER_STARTS:
                raise JobCancelled(f"run {run} of {stage} is {record.status}")
            pauses = record.control == "pause"  # its worker died before it could
            record = pause(change, stage) if pauses else _start(change, record)
            begun, _ = self.move_on(change)
        if pauses:
            await self.cancel_jobs([record])
            raise JobCancelled(f"run {run} of {stage} is paused")
        await self.enqueue_runs(change.experiment, begun)
        await self.log(change.experiment, f"{stage} started.", stage=stage)
        await self.tell(change.experiment.topic, "progress", _progress(change, record))
        return StartedRun(change.experiment, record, _outputs(change))

    async def stage_progress(
        self, exp_id: str, stage: str, run: int, fraction: float, message: str = "", **metrics: Any
    ) -> float:
        """Note progress (0 to 1 of the stage); answers the overall progress, for the event the caller sends.

        One small transaction: call it about once a second. `metrics`: epoch, total_epochs, loss…
        """
        async with self._change(exp_id) as change:
            record = _the_run(change, stage, run)
            if record.status not in (StageStatus.RUNNING, StageStatus.INTERRUPTED):
                raise JobCancelled(f"run {run} of {stage} is {record.status}")
            change.set_stage(
                stage,
                status=StageStatus.RUNNING,
                progress=min(1.0, max(0.0, fraction)),
                message=message or record.message,
                metrics={**record.metrics, **metrics},
            )
            summarise(change)
        return how_far(change.stages, change.experiment.version)

    async def stage_control(self, exp_id: str, stage: str, run: int) -> str:
        """What someone asked of this run: `stop_after_epoch`, `pause` or nothing; for the trainer."""
        record = await self.records.get_stage(exp_id, stage)
        return record.control if record.run == run else ""

    async def stage_completed(self, exp_id: str, stage: str, run: int, outputs: dict[str, Any]) -> None:
        """Keep the outputs and begin what follows; the last stage of a task publishes the voice.

        Call it before the ack. Outputs the engine reads: `checkpoint_id` of sovits_train and gpt_train,
        `prompt` `{audio: storage key, text, language}` of asr.
        """
        async with self._change(exp_id) as change:
            record = _the_run(change, stage, run)
            news = record.status is not StageStatus.COMPLETED
            if news and not record.status.active:
                raise JobCancelled(f"run {run} of {stage} is {record.status}")
            if news:
                record = change.set_stage(
                    stage,
                    status=StageStatus.COMPLETED,
                    progress=1.0,
                    message=REUSED if outputs.get("reused") else "Completed.",
                    outputs=outputs,
                    error=None,
                    control="",
                    completed_at=change.now,
                )
            begun, finished = self.move_on(change)
        if news:
            await self.log(change.experiment, f"{stage} completed.", stage=stage)
            await self.tell(change.experiment.topic, "progress", _progress(change, record))
        await self.enqueue_runs(change.experiment, begun)
        if finished:
            await self._finish_task(exp_id)
        elif news and change.experiment.door == STEPS_DOOR:
            await self.publish_for_steps(change.experiment, stage)

    async def stage_failed(self, exp_id: str, stage: str, run: int, error: dict[str, Any]) -> None:
        """The run is out of attempts: its task fails with `{code, message, hint}`; a run that ended stays."""
        async with self._change(exp_id) as change:
            record = change.stage(stage)
            if record.run != run or not record.status.active:
                return
            message = str(error.get("message", ""))
            give_up_plan(change, stage)
            change.set_stage(
                stage, status=StageStatus.FAILED, message=message, error=error, control="", completed_at=change.now
            )
            ends_now = change.task is not None and not change.task.status.terminal
            siblings = self.fail_task(change, error)
            summarise(change)
        logger.error("Stage %s of %s failed: %s", stage, exp_id, message)
        await self.cancel_jobs(siblings)
        await self.log(change.experiment, f"{stage} failed: {message}", level="ERROR", stage=stage)
        if ends_now and change.task is not None:
            await self.publish_end(change.task)

    async def stage_paused(self, exp_id: str, stage: str, run: int) -> None:
        """The trainer saved its state and gives the GPU back; what resumes goes on in the same folder.

        Raise JobCancelled after it: the job of this run is over, and the run that resumes has one of its own.
        """
        async with self._change(exp_id) as change:
            record = _the_run(change, stage, run)
            if record.status.active:
                record = pause(change, stage)
                summarise(change)
        await self.cancel_jobs([record])
        await self.log(change.experiment, f"{stage} paused.", stage=stage)

    @contextlib.asynccontextmanager
    async def _change(self, exp_id: str) -> AsyncIterator[Change]:
        try:
            async with self.records.change(exp_id) as change:
                yield change
        except NotFound:
            raise JobCancelled(f"experiment {exp_id} is deleted") from None


def _start(change: Change, record: StageRecord) -> StageRecord:
    """A rescued run goes on; one that had failed was replayed from the dead letters, and revives its task."""
    revived = record.status is StageStatus.FAILED
    started = change.set_stage(
        record.stage,
        status=StageStatus.RUNNING,
        error=None,
        message="Started.",
        started_at=record.started_at or change.now,
        completed_at=None,
    )
    if revived:
        _revive_task(change)
    if change.task is not None and change.task.started_at is None:
        change.set_task(started_at=change.now)
    return started


def _outputs(change: Change) -> dict[str, dict[str, Any]]:
    return {name: run.outputs for name, run in change.stages.items() if run.status is StageStatus.COMPLETED}


def _the_run(change: Change, stage: str, run: int) -> StageRecord:
    record = change.stage(stage)
    if record.run != run:
        raise JobCancelled(f"run {run} of {stage} is not the newest one, {record.run} is")
    return record


def _revive_task(change: Change) -> None:
    """A dead letter was replayed: its task goes on, and what the failure took along begins again."""
    if change.task is None or change.task.status is not TaskStatus.FAILED:
        return
    change.set_task(status=TaskStatus.RUNNING, error=None, completed_at=None)
    for name, run in list(change.stages.items()):
        if run.status is StageStatus.CANCELLED:
            change.set_stage(name, status=StageStatus.PENDING)


def _progress(change: Change, record: StageRecord) -> dict[str, Any]:
    return {
        "stage": record.stage,
        "progress": record.progress,
        "overall_progress": how_far(change.stages, change.experiment.version),
        "message": record.message,
    }
