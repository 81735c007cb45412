"""Events about experiments and tasks, for whoever watches them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from core.errors import QueueUnavailable
from core.experiments.lifecycle import experiment_progress
from core.jobs.logs import log_topic
from core.jobs.queue import AsyncQueue
from core.records import ExperimentRecord, ExperimentTransaction, StageRecord, TaskRecord, iso

logger = logging.getLogger(__name__)


class Notifier:
    """Publishes log lines, progress and the end of tasks. Without Redis they are lost; the records hold the rest."""

    def __init__(self, queue: AsyncQueue, clock: Callable[[], float]) -> None:
        self.queue = queue
        self.clock = clock

    async def log(self, experiment: ExperimentRecord, message: str, *, level: str = "INFO", stage: str = "") -> None:
        """Publish a log line of an experiment, about one of its stages or about none."""
        line: dict[str, object] = {"timestamp": iso(self.clock()), "level": level, "message": message}
        if stage:
            line["stage"] = stage
        for topic in (experiment.topic, log_topic(experiment.topic)):
            await self.publish(topic, "log", line)

    async def progress(self, transaction: ExperimentTransaction, run: StageRecord) -> None:
        """Publish how far a run and its experiment are."""
        data = {
            "stage": run.stage,
            "progress": run.progress,
            "overall_progress": experiment_progress(transaction.stages, transaction.experiment.version),
            "message": run.message,
        }
        await self.publish(transaction.experiment.topic, "progress", data)

    async def task_ended(self, task: TaskRecord) -> None:
        """Publish the terminal event of a task."""
        await self.publish(task.id, str(task.status), terminal_event_data(task))

    async def publish(self, topic: str, kind: str, data: Mapping[str, object]) -> None:
        """Publish an event; a queue that is away is logged only."""
        try:
            await self.queue.publish_event(topic, kind, data)
        except QueueUnavailable:
            logger.warning("Nobody could be told about %s: the queue is away.", topic)


def terminal_event_data(task: TaskRecord) -> dict[str, object]:
    """Return the data of the terminal event of a task that has ended."""
    data: dict[str, object] = {
        "task_id": task.id,
        "status": task.status,
        "overall_progress": task.overall_progress,
        "message": task.message,
    }
    if task.voice_id is not None:
        data["voice_id"] = task.voice_id
    if task.error is not None:
        data["error"] = task.error
    return data
