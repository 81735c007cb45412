"""Logs as the model service shows them: every line and every event has a time, a level and a message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from typing_extensions import TypedDict

from api.dialects.model_service.metrics import latest_metrics
from api.services.logs import LogFeed
from api.services.progress import event_order
from core.cancellation import cancel_and_wait
from core.errors import QueueUnavailable, error_message
from core.jobs.job import TERMINAL_EVENTS, Event
from core.records import iso

LEVELS: Final = {"DEBUG": "INFO", "CRITICAL": "ERROR"}
"""Levels that the service does not have → those that it has."""
_LAST_LINES: Final = {"completed": "Completed.", "failed": "Failed.", "cancelled": "Cancelled."}
"""Kind of a terminal event → its message when it has none of its own."""


class LogLineResponse(TypedDict):
    """A line of a log."""

    timestamp: str | None
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class ModelServiceLogFeed:
    """The lines of a log and the metrics of a training, as events with timestamp, level, message and maybe metrics."""

    log: LogFeed

    async def lines(self) -> list[LogLineResponse]:
        """Return the lines so far, oldest first."""
        return [_line(event) for event in await self.log.history("0")]

    async def history(self, after: str) -> list[Event]:
        """Return the past lines and metrics, in the order of their times."""
        reader = self.log.reader
        lines = [_line_event(event) for event in await self.log.history("0")]
        try:
            published = await reader.queue.event_history(reader.topic)
        except QueueUnavailable:
            published = []
        metrics = [event for event in map(_metrics_event, published) if event is not None]
        events = sorted([*lines, *metrics], key=lambda event: event_order(event.id))
        return [event for event in events if event_order(event.id) > event_order(after)]

    async def events(self, after: str) -> AsyncIterator[Event]:
        """Yield the past lines and metrics, then new ones until the task has ended."""
        newest = after
        for event in await self.history(after):
            newest = event.id
            yield event
        if await self.terminal_event() is not None:
            return
        upcoming: asyncio.Queue[Event | None] = asyncio.Queue()
        tasks = [
            asyncio.create_task(self._receive_lines(newest, upcoming)),
            asyncio.create_task(self._receive_metrics(newest, upcoming)),
        ]
        try:
            while (new := await upcoming.get()) is not None:
                yield new
        finally:
            for task in tasks:
                await cancel_and_wait(task)

    async def terminal_event(self) -> Event | None:
        """Return the last event once the task has ended, else None; clients read a level and a message in it, too."""
        event = await self.log.terminal_event()
        if event is None:
            return None
        error = event.data.get("error")
        message = event.data.get("message") or (error_message(error) if error else "") or _LAST_LINES[event.kind]
        line: dict[str, Any] = {
            **event.data,
            "timestamp": iso(event_order(event.id)[0] / 1000),
            "level": "ERROR" if event.kind == "failed" else "INFO",
            "message": message,
            "stage": "completed",
        }
        return Event(event.id, event.kind, line)

    async def _receive_lines(self, after: str, upcoming: asyncio.Queue[Event | None]) -> None:
        async for event in self.log.events(after):
            upcoming.put_nowait(_line_event(event))
        upcoming.put_nowait(None)

    async def _receive_metrics(self, after: str, upcoming: asyncio.Queue[Event | None]) -> None:
        async for event in self.log.reader.watcher.watch(self.log.reader.topic, after):
            if event.kind in TERMINAL_EVENTS:
                return  # the end of the lines ends the feed
            if (metrics := _metrics_event(event)) is not None:
                upcoming.put_nowait(metrics)


def _line(event: Event) -> LogLineResponse:
    level = str(event.data["level"])
    return {
        "timestamp": event.data["timestamp"],
        "level": LEVELS.get(level, level),
        "message": event.data["message"],
    }


def _line_event(event: Event) -> Event:
    return Event(event.id, "log", {**_line(event)})


def _metrics_event(event: Event) -> Event | None:
    """Return a progress event with metrics as an event `log`; None for any other event."""
    if event.kind != "progress":
        return None
    metrics = latest_metrics(event.data, 0)
    if metrics is None:
        return None
    data: dict[str, Any] = {
        "timestamp": iso(event_order(event.id)[0] / 1000),
        "level": "INFO",
        "message": event.data.get("message", ""),
        "metrics": {name: value for name, value in metrics.items() if name not in _NOT_METRICS},
        "stage": "epoch_end" if "epoch_loss" in event.data else "training",
    }
    if (step := event.data.get("step")) is not None:
        data["step"] = int(step)
    return Event(event.id, "log", data)


_NOT_METRICS: Final = frozenset({"stage", "step", "message", "progress", "overall_progress", "kind", "job_id"})
"""What a progress event says beside its metrics."""
