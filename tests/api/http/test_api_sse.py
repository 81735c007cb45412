"""Event streams: heartbeats, replays, and their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import Gauge

from api.http import sse
from core.jobs.job import TERMINAL_EVENTS, Event
from core.records import TaskStatus


class FakeFeed:
    """A feed of the given events, each with a record that answers from a list."""

    def __init__(self, past: list[Event], terminal: list[Event | None], *, stays_open: bool = False) -> None:
        self.past = past
        self.terminal = terminal
        self.stays_open = stays_open

    async def history(self, after: str) -> list[Event]:
        return [event for event in self.past if event.id > after]

    async def events(self, after: str) -> AsyncIterator[Event]:
        for event in await self.history(after):
            yield event
            if event.kind in TERMINAL_EVENTS:
                return
        if self.stays_open:
            await asyncio.Event().wait()

    async def terminal_event(self) -> Event | None:
        return self.terminal.pop(0) if self.terminal else None


def responder(heartbeat_seconds: float = sse.HEARTBEAT_SECONDS) -> sse.SseResponder:
    return sse.SseResponder(Gauge("open_streams", "", registry=None), heartbeat_seconds)


async def test_a_quiet_stream_beats_and_ends_when_the_record_says_so() -> None:
    completed = Event("5-0", "completed", {"status": "completed"})
    feed = FakeFeed([], [None, completed], stays_open=True)

    chunks = [chunk async for chunk in responder(heartbeat_seconds=0.01).stream(feed, "0")]

    assert chunks[1] == b": still here\n\n"
    assert chunks[2].startswith(b"id: 5-0\nevent: completed\n")
    assert len(chunks) == 3


async def test_every_second_heartbeat_of_a_task_is_an_event() -> None:
    feed = FakeFeed([Event("4-0", "progress", {})], [None, None, Event("5-0", "completed", {})], stays_open=True)

    stream = responder(heartbeat_seconds=0.01).stream(feed, "0", heartbeat_events=True)
    chunks = [chunk async for chunk in stream]

    assert chunks[2] == b": still here\n\n"
    assert chunks[3].startswith(b'id: 4-0\nevent: heartbeat\ndata: {"type":"heartbeat","timestamp":"')


async def test_an_old_end_does_not_end_the_stream_of_a_task_that_runs_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sse, "RESUME_SECONDS", 0.01)
    past = [Event("1-0", "failed", {}), Event("2-0", "progress", {}), Event("3-0", "completed", {})]

    chunks = [chunk async for chunk in responder().stream(FakeFeed(past, [None, past[2]]), "0")]
    text = b"".join(chunks)

    assert b"failed" not in text
    assert text.index(b"progress") < text.index(b"completed")


async def test_a_thing_that_has_ended_is_replayed_with_its_newest_end() -> None:
    past = [Event("1-0", "failed", {}), Event("2-0", "progress", {}), Event("3-0", "completed", {"published": True})]
    feed = FakeFeed(past, [Event("9-0", "completed", {})])

    response = await responder().respond(feed, "1-0")
    text = b"".join([chunk async for chunk in response.content])

    assert text == sse.encode_event(past[1]) + sse.encode_event(past[2])


async def test_a_stream_ends_when_the_server_stops() -> None:
    stopped = responder()
    stream = stopped.stream(FakeFeed([], [], stays_open=True), "0")
    await anext(stream)
    asyncio.get_running_loop().call_soon(stopped.stopping.set)

    assert [chunk async for chunk in stream] == []


def test_every_status_that_ends_a_task_is_an_event_that_ends_a_stream() -> None:
    assert {str(status) for status in TaskStatus if status.terminal} == TERMINAL_EVENTS
