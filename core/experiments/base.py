"""What every part of the service shares: the stores, and the one way a stage run becomes a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from core.errors import QueueUnavailable, SovitsError
from core.experiments.publish import publish_voice
from core.experiments.rules import begin_planned, begin_ready, cancel, is_finished, summarise
from core.jobs.devices import ANY, DEFAULT_GPU_NUMBERS, check_offered, offered, parse_device, preferred
from core.jobs.events import AsyncEvents
from core.jobs.logs import log_topic
from core.jobs.queue import AsyncQueue, NewJob
from core.jobs.roles import TRAINER
from core.records import (
    Change,
    ExperimentRecord,
    ExperimentStatus,
    Records,
    StageRecord,
    TaskRecord,
    TaskStatus,
    VoiceRecord,
)
from core.speech.result_uploads import sending
from core.stages.stage import STAGES
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
        """Begin what a task or a preset can run now; publish the voice of a task when all is done."""
        async with self.records.change(exp_id) as change:
            begun, finished = self.move_on(change)
        await self.enqueue_runs(change.experiment, begun)
        if finished:
            await self._finish_task(exp_id)

    def move_on(self, change: Change) -> tuple[list[StageRecord], bool]:
        """Inside a change: queue the next stages. What to enqueue, and whether all of a task is done."""
        by_itself = change.task is not None and not change.task.status.terminal
        begun = begin_ready(change) if by_itself else begin_planned(change)
        summarise(change)
        return begun, by_itself and is_finished(change)

    async def publish_voice(self, exp_id: str, name: str = "") -> VoiceRecord:
        """The voice of the newest checkpoints, named after the experiment; the same when repeated."""
        voice = await publish_voice(self.records, self.storage, exp_id, name)
        async with self.records.change(exp_id) as change:
            change.set_experiment(voice_id=voice.id)
        return voice

    async def publish_for_steps(self, experiment: ExperimentRecord, stage: str) -> None:
        """Once both models are trained, and again when one is trained anew: its client has no step for that."""
        both = experiment.status is ExperimentStatus.COMPLETED
        if not both or (experiment.voice_id is not None and not STAGES[stage].trains):
            return
        try:
            await self.publish_voice(experiment.id)
        except SovitsError as error:
            await self.log(experiment, f"No voice could be published: {error.message}", level="WARNING")

    async def enqueue_run(self, experiment: ExperimentRecord, run: StageRecord, delay_seconds: float = 0.0) -> None:
        """Give a run its job, not before its time; the job that is already there when there is one."""
        new = NewJob(
            STAGES[run.stage].role,
            {"experiment_id": run.exp_id, "stage": run.stage, "run": run.run},
            run.job_id,
            experiment.priority,
            experiment.topic,
            delay_seconds=max(delay_seconds, (run.schedule_at or 0.0) - self.clock(), 0.0),
            after=_made_by(experiment) if not STAGES[run.stage].needs else (),
            device=await self._device(experiment, run),
        )
        await self.queue.enqueue_many([new])

    async def _device(self, experiment: ExperimentRecord, run: StageRecord) -> str:
        """Where the job must run: only trainings may choose, the other stages go to whoever prepares."""
        if STAGES[run.stage].role != TRAINER:
            return ANY
        asked = run.device or experiment.device
        if asked or experiment.gpu_numbers == DEFAULT_GPU_NUMBERS:
            return asked
        return preferred(experiment.gpu_numbers, offered(await self.queue.workers()))

    async def check_device(self, device: str | None) -> str:
        """A device as people name it, checked: InvalidParameter, or InvalidRequest when no host has it."""
        wish = parse_device(device)
        if wish:
            check_offered(wish, offered(await self.queue.workers()))
        return wish

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
            cancel(change, run.stage, "The task failed.")
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
        for topic in (experiment.topic, log_topic(experiment.topic)):
            await self.tell(topic, "log", line)

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
        await self._send_results(exp_id)
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

    async def _send_results(self, exp_id: str) -> None:
        """Where someone asked for it. Before the end is written down: what dies in between is done again."""
        experiment = await self.records.get_experiment(exp_id)
        if experiment.task_id is None:
            return
        task = await self.records.get_task(experiment.task_id)
        if task.upload_url:
            await self.queue.enqueue_many([sending(task.id, task.upload_url, priority=task.priority)])

    async def _end_in_failure(self, exp_id: str, error: dict[str, Any]) -> None:
        async with self.records.change(exp_id) as change:
            ends_now = change.task is not None and not change.task.status.terminal
            self.fail_task(change, error)
        if ends_now and change.task is not None:
            logger.error("Task %s failed: %s", change.task.id, error.get("message"))
            await self.publish_end(change.task)


def _made_by(experiment: ExperimentRecord) -> tuple[str, ...]:
    """The job that makes the version of the data set that it begins from; one that has ended is not waited for."""
    return (f"{experiment.dataset_id}.{experiment.dataset_version}",) if experiment.dataset_id else ()
