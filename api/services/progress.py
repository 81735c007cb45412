"""Progress feeds of tasks, stage runs and jobs, for event streams (api/http/sse.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.errors import QueueUnavailable
from core.experiments.notifier import terminal_event_data
from core.jobs.events import Events
from core.jobs.job import TERMINAL_EVENTS, Event, Job, JobStatus
from core.jobs.queue import AsyncQueue
from core.records import ExperimentStatus, Records, StageRecord, TaskRecord, iso
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
EXPERIMENT_EVENTS: Final = {
    ExperimentStatus.COMPLETED: "completed",
    ExperimentStatus.FAILED: "failed",
    ExperimentStatus.CANCELLED: "cancelled",
}
"""Status of an experiment that has ended → kind of its terminal event."""
TASK_MESSAGES: Final = {"completed": "训练完成", "cancelled": "任务已取消"}
"""Terminal event of a task → the message that clients of the tasks service compare with."""
START: Final = "0"
"""Where a reader begins that has seen nothing."""
STATE_ID: Final = "0-1"
"""Id of the state that a new reader gets; before that of every event that was published."""


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
    read_state: Callable[[], Awaitable[Event]] | None = None
    """What a new reader gets at once when nothing was published yet."""
    present: Callable[[Event], Event] = lambda event: event
    """Turns an event into what readers get."""
    ends_unannounced: bool = False
    """Whether nobody publishes the end: the record is read after each line of the log."""

    async def history(self, after: str) -> list[Event]:
        """Return the past events; none while Redis is unavailable, since the terminal event is known without it."""
        try:
            events = await self.queue.event_history(self.topic, after)
        except QueueUnavailable:
            return []
        if self.skip_terminal:
            events = [event for event in events if event.kind not in TERMINAL_EVENTS]
        return [self.present(event) for event in events]

    async def events(self, after: str) -> AsyncIterator[Event]:
        """Yield the past events (the present state when there are none), then new ones up to a terminal event."""
        if self.read_state is not None and after == START and not await self.history(after):
            yield self.present(await self.read_state())
        async for event in self.watcher.watch(self.topic, after):
            if self.skip_terminal and event.kind in TERMINAL_EVENTS:
                return
            yield self.present(event)
            if self.ends_unannounced and event.kind == "log" and await self.read_terminal_event() is not None:
                return

    async def terminal_event(self) -> Event | None:
        """Return the last event once the subject has ended by its record, else None."""
        event = await self.read_terminal_event()
        return self.present(event) if event is not None else None


def task_feed(records: Records, queue: AsyncQueue, watcher: Events, task_id: str) -> TopicFeed:
    """Return the feed of a task; its `terminal_event` raises NotFound for an unknown one."""

    async def terminal_event() -> Event | None:
        task = await records.tasks.get(task_id)
        return task_event(task) if task.status.terminal else None

    async def state() -> Event:
        task = await records.tasks.get(task_id)
        data = {"stage": task.current_stage, "progress": task.progress, "overall_progress": task.overall_progress}
        return Event(STATE_ID, "progress", {**data, "message": task.message})

    return TopicFeed(queue, watcher, task_id, terminal_event, read_state=state, present=present_task_event)


def step_task_feed(records: Records, queue: AsyncQueue, watcher: Events, exp_id: str) -> TopicFeed:
    """Return the feed of an experiment that the client of the eleven-step service runs.

    It ends when both models are trained, or a step failed or was cancelled.
    """

    async def terminal_event() -> Event | None:
        experiment = await records.experiments.get(exp_id)
        kind = EXPERIMENT_EVENTS.get(experiment.status)
        if kind is None:
            return None
        error = dict(experiment.stepwise.get("refusal") or {})
        if kind == "failed" and not error:
            runs = await records.stages.of_experiment(exp_id)
            error = next((dict(run.error) for run in runs if run.error is not None), {})
        data: dict[str, Any] = {"task_id": exp_id, "status": kind, "message": f"The task is {kind}."}
        if kind == "failed":
            data["error"] = error
        return Event(event_id(experiment.updated_at), kind, data)

    return TopicFeed(queue, watcher, exp_id, terminal_event, present=present_task_event, ends_unannounced=True)


def stage_feed(records: Records, queue: AsyncQueue, watcher: Events, run: StageRecord) -> TopicFeed:
    """Return the feed of one run of a stage."""

    async def terminal_event() -> Event | None:
        return stage_event(run, await records.stages.get(run.exp_id, run.stage))

    async def state() -> Event:
        newest = await records.stages.get(run.exp_id, run.stage)
        data = {"stage": newest.stage, "progress": newest.progress, "message": newest.message, **newest.metrics}
        return Event(STATE_ID, "progress", data)

    return TopicFeed(
        queue, watcher, run.job_id, terminal_event, skip_terminal=True, read_state=state, present=present_stage_event
    )


def present_task_event(event: Event) -> Event:
    """Return an event of a task as readers of the tasks service expect it."""
    event = _present_log_line(event)
    if event.kind == "failed":
        return Event(event.id, event.kind, {**event.data, "status": "failed", **_error_fields(event.data)})
    if message := TASK_MESSAGES.get(event.kind):
        return Event(event.id, event.kind, {**event.data, "status": event.kind, "message": message})
    return event


def present_stage_event(event: Event) -> Event:
    """Return an event of a stage as readers of the tasks service expect it."""
    event = _present_log_line(event)
    if event.kind == "failed":
        return Event(event.id, event.kind, {**event.data, "status": "failed", **_error_fields(event.data)})
    if event.kind == "completed":
        metrics = (event.data.get("outputs") or {}).get("metrics") or {}
        return Event(event.id, event.kind, {**event.data, "final_loss": metrics.get("final_loss")})
    return event


def _error_fields(data: Mapping[str, Any]) -> dict[str, object]:
    """Return the error of an event as one sentence, with its code and hint beside it."""
    error = data.get("error")
    if not isinstance(error, Mapping):
        return {"error": str(error or data.get("message") or "It failed.")}
    return {
        "error": str(error.get("message") or "It failed."),
        "error_code": error.get("code", ""),
        "hint": error.get("hint", ""),
    }


def _present_log_line(event: Event) -> Event:
    if event.kind != "log":
        return event
    timestamp = event.data.get("timestamp")
    shown = iso(timestamp) if isinstance(timestamp, int | float) else timestamp
    return Event(event.id, event.kind, {**event.data, "type": "log", "timestamp": shown})


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
