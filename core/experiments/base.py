"""What every part of the service shares: the stores, and the one way a stage run becomes a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from core.errors import QueueUnavailable, SovitsError
from core.events import AsyncEvents
from core.experiments.publish import publish_voice
from core.experiments.rules import begin_ready, is_finished, summarise
from core.queue import AsyncQueue
from core.records import Change, ExperimentRecord, Records, StageRecord, TaskRecord, TaskStatus, VoiceRecord
from core.stage import STAGES, StageStatus
from core.storage import Storage

logger = logging.getLogger(__name__)


class ServiceBase:
    """Holds records, queue, events and storage; moves tasks on."""

    def __init__(
        self,
        records: Records,
        queue: AsyncQueue,
        events: AsyncEvents,
        storage: Storage | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.records = records
        self.queue = queue
        self.events = events
        self.storage = storage
        self.clock = clock

    async def advance(self, exp_id: str) -> None:
        """Begin what a task can run now, or publish its voice when all is done; nothing in expert mode."""
        async with self.records.change(exp_id) as change:
            begun, finished = self.move_on(change)
        await self.enqueue_runs(change.experiment, begun)
        if finished:
            await self._finish_task(exp_id)

    def move_on(self, change: Change) -> tuple[list[StageRecord], bool]:
        """Inside a change: queue the next stages of a task. What to enqueue, and whether all is done."""
        if change.task is None or change.task.status.terminal:
            summarise(change)
            return [], False
        begun = begin_ready(change)
        summarise(change)
        return begun, is_finished(change)

    async def publish_voice(self, exp_id: str, name: str = "") -> VoiceRecord:
        """The voice of the newest checkpoints, named after the experiment; the same when repeated."""
        voice = await publish_voice(self.records, self.storage, exp_id, name)
        async with self.records.change(exp_id) as change:
            change.set_experiment(voice_id=voice.id)
        return voice

    async def enqueue_run(self, experiment: ExperimentRecord, run: StageRecord, delay_seconds: float = 0.0) -> None:
        """Give a run its job; the job that is already there when there is one."""
        await self.queue.enqueue(
            STAGES[run.stage].role,
            {"experiment_id": run.exp_id, "stage": run.stage, "run": run.run},
            job_id=run.job_id,
            priority=experiment.priority,
            topic=experiment.topic,
            delay_seconds=delay_seconds,
        )

    async def enqueue_runs(self, experiment: ExperimentRecord, runs: Iterable[StageRecord]) -> None:
        """As `enqueue_run`, but without Redis the runs wait in the records until `reconcile` finds them."""
        try:
            for run in runs:
                await self.enqueue_run(experiment, run)
        except QueueUnavailable:
            logger.warning("The queue is away; the next stage of %s begins when it is back.", experiment.id)

    async def cancel_jobs(self, runs: Iterable[StageRecord]) -> None:
        for run in runs:
            await self.queue.cancel(run.job_id)

    def fail_task(self, change: Change, error: dict[str, Any]) -> list[StageRecord]:
        """Inside a change: the task fails and takes its other stages along; returns the runs to cancel."""
        if change.task is None or change.task.status.terminal:
            return []
        others = [run for run in change.stages.values() if run.status.active]
        for run in others:
            change.set_stage(run.stage, status=StageStatus.CANCELLED, message="The task failed.")
        summarise(change)
        change.set_task(
            status=TaskStatus.FAILED,
            error=error,
            message=str(error.get("message", "")),
            completed_at=change.now,
        )
        return others

    async def publish_end(self, task: TaskRecord) -> None:
        """Tell a task's watchers that it ended, the last thing they hear; the records hold it in any case."""
        data: dict[str, Any] = {
            "task_id": task.id,
            "status": task.status,
            "overall_progress": task.overall_progress,
            "message": task.message,
        }
        if task.voice_id is not None:
            data["voice_id"] = task.voice_id
        if task.error is not None:
            data["error"] = task.error
        await self.tell(task.id, str(task.status), data)

    async def log(self, experiment: ExperimentRecord, message: str, *, level: str = "INFO", **extra: Any) -> None:
        """A line for those who watch."""
        line = {"timestamp": self.clock(), "level": level, "message": message, **extra}
        await self.tell(experiment.topic, "log", line)

    async def tell(self, topic: str, kind: str, data: dict[str, Any]) -> None:
        """Publish; watchers are no reason to fail."""
        try:
            await self.events.publish(topic, kind, data)
        except QueueUnavailable:
            logger.warning("Nobody could be told about %s: the queue is away.", topic)

    async def _finish_task(self, exp_id: str) -> None:
        """Every stage is completed: publish the voice and end the task, once."""
        try:
            voice = await self.publish_voice(exp_id)
        except SovitsError as error:
            await self._end_in_failure(exp_id, error.as_dict())
            return
        async with self.records.change(exp_id) as change:
            ends_now = change.task is not None and not change.task.status.terminal
            if ends_now:
                change.set_task(
                    status=TaskStatus.COMPLETED,
                    voice_id=voice.id,
                    progress=1.0,
                    overall_progress=1.0,
                    message=f"The voice {voice.name} is ready.",
                    completed_at=change.now,
                )
        if ends_now and change.task is not None:
            logger.info("Task %s is completed: voice %s.", change.task.id, voice.name)
            await self.publish_end(change.task)

    async def _end_in_failure(self, exp_id: str, error: dict[str, Any]) -> None:
        async with self.records.change(exp_id) as change:
            ends_now = change.task is not None and not change.task.status.terminal
            self.fail_task(change, error)
        if ends_now and change.task is not None:
            logger.error("Task %s failed: %s", change.task.id, error.get("message"))
            await self.publish_end(change.task)
