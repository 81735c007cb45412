"""The log of a training as the model service streams it: lines, and the numbers of each epoch among them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from api.dependencies import Services
from api.http.disconnect import end
from api.routes.logs import Log
from core.errors import QueueUnavailable
from core.jobs.job import TERMINAL_EVENTS, Event
from core.records import iso

_NO_METRICS: Final = frozenset({"stage", "step", "message", "progress", "overall_progress", "kind", "job_id"})


async def training_stream(api: Services, log: Log, after: str) -> AsyncGenerator[bytes, None]:
    """Events `log` `{timestamp, level, message, stage?, step?, metrics?}`, and at last how it ended."""

    def follow(since: str) -> AsyncIterator[Event]:
        return _follow(api, log, since)

    with api.metrics.watchers.track_inprogress():
        async with aclosing(api.watchers.watch(follow, after, log.ended)) as chunks:
            async for chunk in chunks:
                yield chunk


async def _follow(api: Services, log: Log, after: str) -> AsyncIterator[Event]:
    """What is remembered in the order of its time, then what happens."""
    newest = after
    for event in sorted([*await _lines(log), *await _numbers(api, log.topic)], key=lambda one: place(one.id)):
        if place(event.id) > place(after):
            newest = event.id
            yield event
    if await log.ended() is not None:
        return
    coming: asyncio.Queue[Event | None] = asyncio.Queue()
    tasks = [
        asyncio.create_task(_hear_lines(log, newest, coming)),
        asyncio.create_task(_hear_numbers(api, log.topic, newest, coming)),
    ]
    try:
        while (told := await coming.get()) is not None:
            yield told
    finally:
        for task in tasks:
            await end(task)


async def _lines(log: Log) -> list[Event]:
    page = await log.page(limit=1 << 20, offset=0)
    return [Event(line["id"], "log", _line(dict(line))) for line in page["items"]]


async def _numbers(api: Services, topic: str) -> list[Event]:
    try:
        history = await api.queue.event_history(topic)
    except QueueUnavailable:
        return []
    return [told for event in history if (told := _measured(event)) is not None]


async def _hear_lines(log: Log, after: str, coming: asyncio.Queue[Event | None]) -> None:
    async for event in log.follow(after):
        coming.put_nowait(Event(event.id, "log", _line(event.data)))
    coming.put_nowait(None)


async def _hear_numbers(api: Services, topic: str, after: str, coming: asyncio.Queue[Event | None]) -> None:
    async for event in api.events.watch(topic, after):
        if event.kind in TERMINAL_EVENTS:
            return  # the log says when it is over
        if (told := _measured(event)) is not None:
            coming.put_nowait(told)


def _line(data: dict[str, Any]) -> dict[str, Any]:
    line = {name: data[name] for name in ("timestamp", "level", "message")}
    return {**line, "stage": data["stage"]} if data.get("stage") else line


def _measured(event: Event) -> Event | None:
    """A progress event that brings numbers of a training."""
    metrics = {name: value for name, value in event.data.items() if name not in _NO_METRICS}
    if event.kind != "progress" or not metrics:
        return None
    data: dict[str, Any] = {
        "timestamp": iso(place(event.id)[0] / 1000),
        "level": "INFO",
        "message": event.data.get("message", ""),
        "metrics": metrics,
    }
    data |= {name: event.data[name] for name in ("stage", "step") if event.data.get(name)}
    return Event(event.id, "log", data)


def place(event_id: str) -> tuple[int, ...]:
    """Ids sort by their time, whoever made them."""
    return tuple(int(part) for part in event_id.split("-"))
