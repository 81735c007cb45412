"""The log of a training as the model service streams it: lines, with the metrics of each epoch among them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from api.http.disconnect import cancel_and_wait
from api.services.logs import LogFeed
from api.services.progress import event_order
from core.errors import QueueUnavailable
from core.jobs.job import TERMINAL_EVENTS, Event
from core.records import iso

_NOT_METRICS: Final = frozenset({"stage", "step", "message", "progress", "overall_progress", "kind", "job_id"})


@dataclass(frozen=True, slots=True)
class TrainingLogFeed:
    """The lines of a training's log and its metrics, as events `log`: timestamp, level, message, stage?, metrics?."""

    log: LogFeed

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
        """Yield the past lines and metrics, then new ones until the training has ended."""
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
        """Return the last event once the training has ended, else None."""
        return await self.log.terminal_event()

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


def _line_event(event: Event) -> Event:
    data = {name: event.data[name] for name in ("timestamp", "level", "message")}
    if event.data.get("stage"):
        data["stage"] = event.data["stage"]
    return Event(event.id, "log", data)


def _metrics_event(event: Event) -> Event | None:
    """Return a progress event with metrics as an event `log`; None for any other event."""
    metrics = {name: value for name, value in event.data.items() if name not in _NOT_METRICS}
    if event.kind != "progress" or not metrics:
        return None
    data: dict[str, Any] = {
        "timestamp": iso(event_order(event.id)[0] / 1000),
        "level": "INFO",
        "message": event.data.get("message", ""),
        "metrics": metrics,
    }
    data |= {name: event.data[name] for name in ("stage", "step") if event.data.get(name)}
    return Event(event.id, "log", data)
