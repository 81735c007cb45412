"""Logs of jobs, stages and tasks: read page by page, or followed line by line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from typing_extensions import TypedDict

from api.http.schemas import PageView
from api.services.progress import START, TopicFeed, event_order, job_event, stage_feed, task_feed
from core.access import current_caller
from core.cancellation import cancel_and_wait
from core.errors import InvalidRequest, NotFound, QueueUnavailable
from core.jobs.events import Events
from core.jobs.job import TERMINAL_EVENTS, Event
from core.jobs.logs import LogLine, log_topic, read_job_log
from core.jobs.queue import AsyncQueue
from core.records import Records, StageRecord, iso
from core.stages.stage import find_stage
from core.storage import Storage

FINAL_LINES_SECONDS: Final = 0.5
"""The last lines of a worker arrive a moment after the event that ends its job."""


class LogLineView(TypedDict):
    """A line of a log."""

    id: str
    timestamp: str | None
    level: str
    message: str
    job_id: str
    stage: str


@dataclass(frozen=True, slots=True)
class JobLogReader:
    """Reads the log of one job, or of several that belong together."""

    storage: Storage
    queue: AsyncQueue
    watcher: Events
    topic: str
    """Where new lines are published."""
    jobs: Sequence[str]
    """Oldest first."""
    with_topic: bool = False
    """Whether lines that the service publishes on the topic itself belong to the log."""

    async def lines(self) -> list[Event]:
        """Return all lines so far as `log` events, oldest first; the id of a line never changes."""
        lines: dict[LogLine, None] = {}
        for job_id in self.jobs:
            # The file and the published lines: an attempt on another host may have written elsewhere.
            lines.update(dict.fromkeys(await self._written(job_id) + await self._published(log_topic(job_id))))
        if self.with_topic:
            lines.update(dict.fromkeys(await self._published(self.topic)))
        return list(_events(sorted(lines, key=lambda line: line.timestamp)))

    async def page(self, limit: int, offset: int | None) -> PageView[LogLineView]:
        """Return the lines from `offset` on, or the newest without one."""
        events = await self.lines()
        first = max(0, len(events) - limit) if offset is None else offset
        views = [_line_view(event) for event in events[first : first + limit]]
        return {"items": views, "total": len(events), "limit": limit, "offset": first}

    async def _written(self, job_id: str) -> list[LogLine]:
        try:
            return await asyncio.to_thread(read_job_log, self.storage, job_id)
        except InvalidRequest:  # no storage key can hold this id, so no job has it
            return []

    async def _published(self, topic: str) -> list[LogLine]:
        try:
            history = await self.queue.event_history(topic)
            # What a program of the job logged is in the job's own log already.
            return [_line(event) for event in history if event.kind == "log" and not event.data.get("program")]
        except QueueUnavailable:
            return []


@dataclass(frozen=True, slots=True)
class LogFeed:
    """The lines of a log as events `log`, up to the end of what is logged."""

    reader: JobLogReader
    read_terminal_event: Callable[[], Awaitable[Event | None]]

    async def history(self, after: str) -> list[Event]:
        """Return the lines so far."""
        events = _unseen(await self.reader.lines(), set())
        return [event for event in events if event_order(event.id) > event_order(after)]

    async def events(self, after: str) -> AsyncIterator[Event]:
        """Yield the lines so far, then new ones until what is logged has ended."""
        seen: set[LogLine] = set()
        ended = await self.terminal_event() is not None
        for event in _unseen(await self.reader.lines(), seen):
            if event_order(event.id) > event_order(after):
                yield event
        if ended:
            return
        upcoming: asyncio.Queue[Event | None] = asyncio.Queue()
        tasks = [
            asyncio.create_task(self._receive_lines(upcoming)),
            asyncio.create_task(self._wait_for_end(upcoming)),
        ]
        try:
            while (published := await upcoming.get()) is not None:
                for event in _unseen(_events([_line(published)]), seen):
                    yield event
        finally:
            for task in tasks:
                await cancel_and_wait(task)
        for event in _unseen(await self.reader.lines(), seen):  # lines that were written but not published
            yield event

    async def terminal_event(self) -> Event | None:
        """Return the last event once what is logged has ended, else None."""
        return await self.read_terminal_event()

    async def _receive_lines(self, upcoming: asyncio.Queue[Event | None]) -> None:
        async for event in self.reader.watcher.watch(log_topic(self.reader.topic)):
            if event.kind == "log":
                upcoming.put_nowait(event)

    async def _wait_for_end(self, upcoming: asyncio.Queue[Event | None]) -> None:
        async for event in self.reader.watcher.watch(self.reader.topic):
            if event.kind in TERMINAL_EVENTS and await self.terminal_event() is not None:
                break
        await asyncio.sleep(FINAL_LINES_SECONDS)
        upcoming.put_nowait(None)


@dataclass(frozen=True, slots=True)
class FeedWithLog:
    """What happens and the lines of the log in one stream; every connection begins with all lines so far."""

    progress: TopicFeed
    log: LogFeed

    async def history(self, after: str) -> list[Event]:
        """Return what happened after an id, and all lines, in the order of their times."""
        events = [event for event in await self.progress.history(after) if event.kind != "log"]
        return sorted(events + await self.log.history(START), key=lambda event: event_order(event.id))

    async def events(self, after: str) -> AsyncIterator[Event]:
        """Yield events and lines as they come, until both have ended."""
        upcoming: asyncio.Queue[Event | None] = asyncio.Queue()

        async def collect(events: AsyncIterator[Event], *, lines: bool) -> None:
            try:
                async for event in events:
                    if lines or event.kind != "log":  # the log has these lines, too
                        upcoming.put_nowait(event)
            finally:
                upcoming.put_nowait(None)

        tasks = [
            asyncio.create_task(collect(self.progress.events(after), lines=False)),
            asyncio.create_task(collect(self.log.events(START), lines=True)),
        ]
        try:
            for _ in tasks:
                while (event := await upcoming.get()) is not None:
                    yield event
            await asyncio.gather(*tasks)  # raises what one of them has raised
        finally:
            for task in tasks:
                await cancel_and_wait(task)

    async def terminal_event(self) -> Event | None:
        """Return the last event once the subject has ended, else None."""
        return await self.progress.terminal_event()


class LogService:
    """Finds the logs of tasks, stages, jobs and experiments."""

    def __init__(self, records: Records, queue: AsyncQueue, events: Events, storage: Storage) -> None:
        self.records = records
        self.queue = queue
        self.events = events
        self.storage = storage

    async def task(self, task_id: str) -> LogFeed:
        """Return the log of all jobs of a task."""
        task = await self.records.tasks.get(task_id)
        experiment = await self.records.experiments.get(task.exp_id)
        runs = (await self.records.stages.of_experiments([experiment]))[experiment.id]
        jobs = [f"{run.exp_id}.{run.stage}.{number}" for run in runs for number in range(1, run.run + 1)]
        reader = JobLogReader(self.storage, self.queue, self.events, task_id, jobs, with_topic=True)
        return LogFeed(reader, task_feed(self.records, self.queue, self.events, task_id).terminal_event)

    async def stage(self, exp_id: str, stage: str) -> LogFeed:
        """Return the log of a stage's newest run, with the log of the runs that it resumes."""
        run = await self.records.stages.get(exp_id, find_stage(stage).name)
        jobs = [f"{exp_id}.{run.stage}.{number}" for number in range(run.work_run or 1, run.run + 1)]
        reader = JobLogReader(self.storage, self.queue, self.events, run.job_id or exp_id, jobs)
        return LogFeed(reader, stage_feed(self.records, self.queue, self.events, run).terminal_event)

    async def job(self, job_id: str) -> LogFeed:
        """Return the log of a job; NotFound unless the job or a line of its log is there."""

        async def terminal_event() -> Event | None:
            job = await self.queue.job(job_id)
            event = job_event(job_id, job)
            if event is None:
                return None
            status = {"status": "forgotten" if job is None else job.status}
            return Event(event.id, event.kind, event.data | status)

        reader = JobLogReader(self.storage, self.queue, self.events, job_id, [job_id])
        if await self.queue.job(job_id) is None and not (await self._is_visible(job_id) and await reader.lines()):
            raise NotFound(f"No job {job_id!r}.", hint="Jobs that have ended are forgotten after a while.")
        return LogFeed(reader, terminal_event)

    async def _is_visible(self, job_id: str) -> bool:
        """Return whether the caller may read the log of a job that the queue forgot or does not show to it.

        The job of a stage or a data set belongs to the owner of that; of others nobody knows any more whose they were.
        """
        if current_caller().sees_all:
            return True
        subject = job_id.partition(".")[0]
        for find in (self.records.experiments.get, self.records.datasets.get):
            with contextlib.suppress(NotFound):
                await find(subject)
                return True
        return False

    def experiment(self, topic: str, runs: Iterable[StageRecord]) -> JobLogReader:
        """Return the log of all jobs of an experiment whose client runs the stages one by one."""
        jobs = [f"{run.job_id.rpartition('.')[0]}.{number}" for run in runs for number in range(1, run.run + 1)]
        return JobLogReader(self.storage, self.queue, self.events, topic, jobs, with_topic=True)


def _unseen(events: Iterable[Event], seen: set[LogLine]) -> Iterator[Event]:
    """Yield the lines that are not in `seen` as they are sent, and add them to it."""
    for event in events:
        line: LogLine = event.data["line"]
        if line not in seen:
            seen.add(line)
            yield Event(event.id, "log", dict(_line_view(event)))


def _line(event: Event) -> LogLine:
    """Return the line of a published event; without a time of its own it has that of the event."""
    data: dict[str, Any] = event.data
    return LogLine(
        timestamp=_seconds(data.get("timestamp")) or event_order(event.id)[0] / 1000,
        level=str(data.get("level", "INFO")),
        message=str(data.get("message", "")),
        job_id=str(data.get("job_id", "")),
        stage=str(data.get("stage", "")),
    )


def _seconds(timestamp: str | float | None) -> float:
    """Return a time of an event in seconds since the epoch; 0 for none. Processes write seconds, stages ISO 8601."""
    if isinstance(timestamp, str):
        return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0
    return float(timestamp or 0.0)


def _events(lines: Iterable[LogLine]) -> Iterator[Event]:
    """Yield lines as events whose ids are milliseconds, and a counter where several lines share one."""
    previous, counter = -1, 0
    for line in lines:
        milliseconds = round(line.timestamp * 1000)
        counter = counter + 1 if milliseconds == previous else 0
        previous = milliseconds
        yield Event(f"{milliseconds}-{counter}", "log", {"line": line})


def _line_view(event: Event) -> LogLineView:
    line: LogLine = event.data["line"]
    return {
        "id": event.id,
        "timestamp": iso(line.timestamp),
        "level": line.level,
        "message": line.message,
        "job_id": line.job_id,
        "stage": line.stage,
    }
