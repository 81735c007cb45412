"""Logs of jobs, stages and tasks: read page by page, or followed line by line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Services
from api.http.disconnect import end
from api.http.responses import Json
from api.http.sse import EventStream, last_event_id
from api.routes.stages import ending as stage_ending
from api.routes.tasks import ending as task_ending
from core.errors import InvalidRequest, NotFound, QueueUnavailable
from core.jobs.job import TERMINAL_EVENTS, Event, Job, JobStatus
from core.jobs.logs import LogLine, log_topic, read_job_log
from core.records import StageRecord, iso
from core.stages.stage import find_stage

router = APIRouter(tags=["Logs"])

LAST_WORDS_SECONDS: Final = 0.5
"""What a worker says about the end of a job comes a moment after the end."""
_JOB_ENDS: Final = {JobStatus.DONE: "completed", JobStatus.DEAD: "failed", JobStatus.CANCELLED: "cancelled"}

Ended = Callable[[], Awaitable[Event | None]]
LastEvent = Annotated[str, Header(alias="Last-Event-ID", description="Goes on after this line.")]
Accept = Annotated[str, Header(include_in_schema=False)]
LineOffset = Annotated[int | None, Query(ge=0, description="Lines to skip; without it, the newest are shown.")]


class LogLineView(TypedDict):
    """A line of a log."""

    id: str
    timestamp: str | None
    level: str
    message: str
    job_id: str
    stage: str


class LogPage(TypedDict):
    items: list[LogLineView]
    total: int
    limit: int
    offset: int


@router.get("/tasks/{task_id}/logs", response_model=LogPage)
async def task_logs(
    task_id: str,
    api: Api,
    limit: Limit = 500,
    offset: LineOffset = None,
    accept: Accept = "",
    last_event: LastEvent = "",
) -> Response:
    """What the jobs of a task logged, oldest first; `Accept: text/event-stream` follows it."""
    return await _answer(await of_task(api, task_id), accept, limit, offset, last_event)


@router.get("/tasks/{task_id}/logs/stream", response_class=EventStream)
async def follow_task_logs(task_id: str, api: Api, last_event: LastEvent = "") -> Response:
    """Events `log`, and the end of the task."""
    return EventStream((await of_task(api, task_id)).stream(last_event_id(last_event)))


@router.get("/experiments/{exp_id}/stages/{stage}/logs", response_model=LogPage)
async def stage_logs(
    exp_id: str,
    stage: str,
    api: Api,
    limit: Limit = 500,
    offset: LineOffset = None,
    accept: Accept = "",
    last_event: LastEvent = "",
) -> Response:
    """What the newest run of a stage logged, oldest first; `Accept: text/event-stream` follows it."""
    return await _answer(await of_stage(api, exp_id, stage), accept, limit, offset, last_event)


@router.get("/experiments/{exp_id}/stages/{stage}/logs/stream", response_class=EventStream)
async def follow_stage_logs(exp_id: str, stage: str, api: Api, last_event: LastEvent = "") -> Response:
    """Events `log`, and the end of the run."""
    return EventStream((await of_stage(api, exp_id, stage)).stream(last_event_id(last_event)))


@router.get("/jobs/{job_id}/logs", response_model=LogPage)
async def job_logs(
    job_id: str,
    api: Api,
    limit: Limit = 500,
    offset: LineOffset = None,
    accept: Accept = "",
    last_event: LastEvent = "",
) -> Response:
    """What a job logged, oldest first; `Accept: text/event-stream` follows it."""
    return await _answer(await of_job(api, job_id), accept, limit, offset, last_event)


@router.get("/jobs/{job_id}/logs/stream", response_class=EventStream)
async def follow_job_logs(job_id: str, api: Api, last_event: LastEvent = "") -> Response:
    """Events `log`, and the end of the job."""
    return EventStream((await of_job(api, job_id)).stream(last_event_id(last_event)))


async def of_task(api: Services, task_id: str) -> Log:
    task = await api.records.tasks.get(task_id)
    experiment = await api.records.experiments.get(task.exp_id)
    runs = (await api.records.stages.of_experiments([experiment]))[experiment.id]

    async def ended() -> Event | None:
        now = await api.records.tasks.get(task_id)
        return task_ending(now) if now.status.terminal else None

    return Log(api, task_id, [job_id for run in runs for job_id in _jobs(run)], ended, with_service=True)


async def of_stage(api: Services, exp_id: str, stage: str) -> Log:
    run = await api.records.stages.get(exp_id, find_stage(stage).name)

    async def ended() -> Event | None:
        return stage_ending(run, await api.records.stages.get(exp_id, run.stage))

    # A run that went on after a pause has the log of the one that paused, too.
    jobs = [f"{exp_id}.{run.stage}.{number}" for number in range(run.work_run or 1, run.run + 1)]
    return Log(api, run.job_id or exp_id, jobs, ended)


async def of_job(api: Services, job_id: str) -> Log:
    job = await api.queue.job(job_id)
    log = Log(api, job_id, [job_id], lambda: _job_ending(api, job_id))
    if job is None and not await log.lines():
        raise NotFound(f"No job {job_id!r}.", hint="Jobs that have ended are forgotten after a while.")
    return log


@dataclass(frozen=True)
class Log:
    """The log of one job, or of several that belong together."""

    api: Services
    topic: str
    """Where its lines are told, and whose end is its end."""
    jobs: Sequence[str]
    """Oldest first."""
    ended: Ended
    """The event that ends it; None while there is more to come."""
    with_service: bool = False
    """Whether what the service says of the topic is part of it."""

    async def lines(self) -> list[Event]:
        """All lines so far, oldest first, each with an id that stays its own."""
        found: dict[LogLine, None] = {}
        for job_id in self.jobs:
            # A file, and what was told: an attempt at another host may have written elsewhere.
            found.update(dict.fromkeys(await self._written(job_id) + await self._told(log_topic(job_id))))
        if self.with_service:
            found.update(dict.fromkeys(await self._told(self.topic)))
        return list(_numbered(sorted(found, key=lambda line: line.timestamp)))

    async def page(self, limit: int, offset: int | None) -> LogPage:
        lines = await self.lines()
        first = max(0, len(lines) - limit) if offset is None else offset
        items = [_view(event) for event in lines[first : first + limit]]
        return {"items": items, "total": len(lines), "limit": limit, "offset": first}

    async def stream(self, after: str) -> AsyncGenerator[bytes, None]:
        """The lines after that id, those to come, and the end."""
        with self.api.metrics.watchers.track_inprogress():
            async with aclosing(self.api.watchers.watch(self.follow, after, self.ended)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def follow(self, after: str) -> AsyncIterator[Event]:
        """The lines after that id and those to come, until it has ended."""
        seen: set[LogLine] = set()
        over = await self.ended() is not None
        for event in self._fresh(await self.lines(), seen):
            if _place(event.id) > _place(after):
                yield event
        if over:
            return
        coming: asyncio.Queue[Event | None] = asyncio.Queue()
        tasks = [asyncio.create_task(self._hear(coming)), asyncio.create_task(self._wait_for_end(coming))]
        try:
            while (told := await coming.get()) is not None:
                for event in self._fresh(_numbered([_line(told)]), seen):
                    yield event
        finally:
            for task in tasks:
                await end(task)
        for event in self._fresh(await self.lines(), seen):  # what was said beside us
            yield event

    def _fresh(self, events: Iterable[Event], seen: set[LogLine]) -> Iterator[Event]:
        """As they are sent, those that were not seen yet."""
        for event in events:
            line: LogLine = event.data["line"]
            if line not in seen:
                seen.add(line)
                yield Event(event.id, "log", dict(_view(event)))

    async def _hear(self, coming: asyncio.Queue[Event | None]) -> None:
        async for event in self.api.events.watch(log_topic(self.topic)):
            if event.kind == "log":
                coming.put_nowait(event)

    async def _wait_for_end(self, coming: asyncio.Queue[Event | None]) -> None:
        async for event in self.api.events.watch(self.topic):
            if event.kind in TERMINAL_EVENTS and await self.ended() is not None:
                break
        await asyncio.sleep(LAST_WORDS_SECONDS)
        coming.put_nowait(None)

    async def _written(self, job_id: str) -> list[LogLine]:
        try:
            return await asyncio.to_thread(read_job_log, self.api.storage, job_id)
        except InvalidRequest:  # an id that no storage key can hold is nobody's
            return []

    async def _told(self, topic: str) -> list[LogLine]:
        try:
            return [_line(event) for event in await self.api.queue.event_history(topic) if event.kind == "log"]
        except QueueUnavailable:
            return []


async def _answer(log: Log, accept: str, limit: int, offset: int | None, last_event: str) -> Response:
    if EventStream.media_type in accept:
        return EventStream(log.stream(last_event_id(last_event)))
    return Json(await log.page(limit, offset))


async def _job_ending(api: Services, job_id: str) -> Event | None:
    job: Job | None = await api.queue.job(job_id)
    if job is not None and not job.status.terminal:
        return None
    kind = "completed" if job is None else _JOB_ENDS[job.status]
    finished = 0.0 if job is None else job.finished_at
    data: dict[str, Any] = {"job_id": job_id, "status": "forgotten" if job is None else job.status}
    if job is not None and job.error is not None and job.status is JobStatus.DEAD:
        data["error"] = job.error
    return Event(f"{round(finished * 1000)}-0", kind, data)


def _jobs(run: StageRecord) -> list[str]:
    """Every run that a stage had."""
    return [f"{run.exp_id}.{run.stage}.{number}" for number in range(1, run.run + 1)]


def _line(event: Event) -> LogLine:
    """A told line; one without a time has that of its telling."""
    data = event.data
    return LogLine(
        timestamp=float(data.get("timestamp") or int(event.id.partition("-")[0]) / 1000),
        level=str(data.get("level", "INFO")),
        message=str(data.get("message", "")),
        job_id=str(data.get("job_id", "")),
        stage=str(data.get("stage", "")),
    )


def _numbered(lines: Iterable[LogLine]) -> Iterator[Event]:
    """As events whose ids are the milliseconds, and a number where several share one."""
    at, number = -1, 0
    for line in lines:
        milliseconds = round(line.timestamp * 1000)
        number = number + 1 if milliseconds == at else 0
        at = milliseconds
        yield Event(f"{milliseconds}-{number}", "log", {"line": line})


def _view(event: Event) -> LogLineView:
    line: LogLine = event.data["line"]
    return {
        "id": event.id,
        "timestamp": iso(line.timestamp),
        "level": line.level,
        "message": line.message,
        "job_id": line.job_id,
        "stage": line.stage,
    }


def _place(event_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in event_id.split("-"))
