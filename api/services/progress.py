"""Progress feeds of tasks, stage runs and jobs, for event streams (api/http/sse.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from core.errors import QueueUnavailable
from core.experiments.notifier import terminal_event_data
from core.jobs.events import Events
from core.jobs.job import TERMINAL_EVENTS, Event, Job, JobStatus
from core.jobs.queue import AsyncQueue
from core.records import Records, StageRecord, TaskRecord
from core.stages.status import StageStatus

JOB_EVENTS: Final = {JobStatus.DONE: "completed", JobStatus.DEAD: "failed", JobStatus.CANCELLED: "cancelled"}
"""Status of a job that has ended → kind of its terminal event."""
STAGE_EVENTS: Final = {
    StageStatus.COMPLETED: "completed",
    StageStatus.STALE: "completed",
    StageStatus.FAILED: "failed",
    StageStatus.CANCELLED: "cancelled",
    StageStatus.PAUSED: "paused",
}
"""Status of a stage whose run has ended → kind of the run's terminal event."""


@dataclass(frozen=True, slots=True)
class TopicFeed:
    """The events of one topic in Redis, and the record that decides whether its subject has ended."""

    queue: AsyncQueue
    watcher: Events
    topic: str
    """A job, or what several jobs belong to."""
    read_terminal_event: Callable[[], Awaitable[Event | None]]
    skip_terminal: bool = False
    """Whether terminal events of the topic are left out, since the record's says more."""

    async def history(self, after: str) -> list[Event]:
        """Return the past events; none while Redis is unavailable, since the terminal event is known without it."""
        try:
            events = await self.queue.event_history(self.topic, after)
        except QueueUnavailable:
            return []
        return [event for event in events if event.kind not in TERMINAL_EVENTS] if self.skip_terminal else events

    async def events(self, after: str) -> AsyncIterator[Event]:
        """Yield the past events, then new ones up to a terminal event."""
        async for event in self.watcher.watch(self.topic, after):
            if self.skip_terminal and event.kind in TERMINAL_EVENTS:
                return
            yield event

    async def terminal_event(self) -> Event | None:
        """Return the last event once the subject has ended by its record, else None."""
        return await self.read_terminal_event()


def task_feed(records: Records, queue: AsyncQueue, watcher: Events, task_id: str) -> TopicFeed:
    """Return the feed of a task; its `terminal_event` raises NotFound for an unknown one."""

    async def terminal_event() -> Event | None:
        task = await records.tasks.get(task_id)
        return task_event(task) if task.status.terminal else None

    return TopicFeed(queue, watcher, task_id, terminal_event)


def stage_feed(records: Records, queue: AsyncQueue, watcher: Events, run: StageRecord) -> TopicFeed:
    """Return the feed of one run of a stage."""

    async def terminal_event() -> Event | None:
        return stage_event(run, await records.stages.get(run.exp_id, run.stage))

    return TopicFeed(queue, watcher, run.job_id, terminal_event, skip_terminal=True)


def job_feed(queue: AsyncQueue, watcher: Events, job_id: str) -> TopicFeed:
    """Return the feed of a job."""

    async def terminal_event() -> Event | None:
        return job_event(job_id, await queue.job(job_id))

    return TopicFeed(queue, watcher, job_id, terminal_event)


def task_event(task: TaskRecord) -> Event:
    """Return the terminal event of a task that has ended, from its record."""
    return Event(event_id(task.completed_at), str(task.status), terminal_event_data(task))


def stage_event(run: StageRecord, newest: StageRecord) -> Event | None:
    """Return the terminal event of a run, given the newest run of its stage; None while the run goes on."""
    kind = STAGE_EVENTS.get(newest.status)
    if newest.run != run.run:  # the next run was requested before this one was seen to end
        was_completed = newest.previous_run is not None and newest.previous_run["run"] == run.run
        kind = "completed" if was_completed else "paused" if newest.work_run == run.work_run else "cancelled"
        newest = run
    if kind is None:
        return None
    data: dict[str, Any] = {
        "exp_id": newest.exp_id,
        "stage": newest.stage,
        "status": kind,
        "progress": newest.progress,
        "message": newest.message,
        "outputs": newest.outputs,
    }
    if newest.error is not None:
        data["error"] = newest.error
    return Event(event_id(newest.completed_at), kind, data)


def job_event(job_id: str, job: Job | None) -> Event | None:
    """Return the terminal event of a job, None while it goes on; a job that expired counts as completed."""
    if job is None:
        return Event(event_id(None), "completed", {"job_id": job_id})
    if not job.status.terminal:
        return None
    data: dict[str, Any] = {"job_id": job_id}
    if job.status is JobStatus.DEAD and job.error is not None:
        data["error"] = job.error
    return Event(event_id(job.finished_at), JOB_EVENTS[job.status], data)


def event_id(seconds: float | None) -> str:
    """Return the id of an event at a time in seconds since the epoch; ids sort by time."""
    return f"{round((seconds or 0.0) * 1000)}-0"


def event_order(event_id: str) -> tuple[int, int]:
    """Return the sort key of an event id: milliseconds and a counter."""
    milliseconds, _, counter = event_id.partition("-")
    return int(milliseconds), int(counter or 0)
