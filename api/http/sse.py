"""Server-sent events: one responder that replays a history, follows what runs, sends heartbeats and ends.

A `ProgressFeed` supplies the events of one thing that runs and ends, such as a task, a stage run or a job. The thing's
record decides whether it has ended; the event that announced the end may be lost, or outdated by a replay.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Annotated, Any, Final, Protocol

import orjson
from fastapi import Header
from prometheus_client import Gauge

from api.http.responses import ClosingStreamingResponse
from core.cancellation import cancel_and_wait
from core.jobs.job import TERMINAL_EVENTS, Event
from core.records import iso

HEARTBEAT_SECONDS: Final = 15.0
RESUME_SECONDS: Final = 1.0
"""Pause before a history that has ended is followed again because its subject still runs."""
_EVENT_ID: Final = re.compile(r"\d{1,20}-\d{1,20}")

LastEventId = Annotated[
    str, Header(alias="Last-Event-ID", description="Id of the last received event; the stream resumes after it.")
]


class ProgressFeed(Protocol):
    """The events of one thing that runs and ends."""

    async def history(self, after: str) -> list[Event]:
        """Return the past events after the event id `after`, oldest first."""
        ...

    def events(self, after: str) -> AsyncIterator[Event]:
        """Yield the past events after the event id `after`, then new ones while there are any."""
        ...

    async def terminal_event(self) -> Event | None:
        """Return the last event once the thing has ended by its record, else None."""
        ...


class EventStream(ClosingStreamingResponse):
    """A `text/event-stream` response that no proxy should buffer."""

    media_type = "text/event-stream"

    def __init__(
        self, content: AsyncGenerator[bytes, None], status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        usual = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, status_code, {**(headers or {}), **usual})


class SseResponder:
    """The event streams of this process, which all end when it stops."""

    def __init__(self, open_streams: Gauge, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self.open_streams = open_streams
        self.heartbeat_seconds = heartbeat_seconds
        self.stopping = asyncio.Event()
        """Set when the process was asked to stop: every stream ends."""
        self._closing: set[asyncio.Task[None]] = set()

    async def respond(self, feed: ProgressFeed, last_event_id: str, *, heartbeat_events: bool = False) -> EventStream:
        """Stream a feed after the event with that id (from the start if it is no event id), up to its terminal event.

        Of a thing that has ended, the history and the terminal event are sent at once. `heartbeat_events`: whether
        every second heartbeat is an event and not a comment.
        """
        after = position(last_event_id)
        terminal = await feed.terminal_event()
        if terminal is not None:
            return EventStream(_encode_all(await _replay(feed, after, terminal)))
        return EventStream(self.stream(feed, after, heartbeat_events=heartbeat_events))

    async def stream(
        self, feed: ProgressFeed, after: str, *, heartbeat_events: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Yield the encoded events of a feed until its record says that it has ended; comments as heartbeats."""
        silent, last_id = 0, after
        yield b": watching\n\n"  # sends the headers at once
        async with contextlib.aclosing(self.follow(feed, after)) as events:
            async for event in events:
                silent = 0 if event is not None else silent + 1
                if event is not None:
                    last_id = event.id
                    yield encode_event(event)
                elif heartbeat_events and silent % 2 == 0:
                    yield encode_event(heartbeat(last_id))
                else:
                    yield b": still here\n\n"

    async def follow(self, feed: ProgressFeed, after: str) -> AsyncGenerator[Event | None, None]:
        """Yield the events of a feed until its record says that it has ended; None for each silent interval.

        The record is read then, so that nobody waits forever for an event that was lost, and at a terminal event, which
        is an old one when a dead letter was replayed since. It ends early when this process stops.
        """
        with self.open_streams.track_inprogress():
            stop = asyncio.ensure_future(self.stopping.wait())
            events = feed.events(after)
            upcoming: asyncio.Future[Event | None] | None = None
            try:
                while True:
                    upcoming = upcoming or asyncio.create_task(_next_event(events))
                    waiting: set[asyncio.Future[Any]] = {upcoming, stop}
                    await asyncio.wait(waiting, timeout=self.heartbeat_seconds, return_when=asyncio.FIRST_COMPLETED)
                    if self.stopping.is_set():
                        return
                    if not upcoming.done():
                        if (terminal := await feed.terminal_event()) is not None:
                            yield terminal
                            return
                        yield None
                        continue
                    event, upcoming = upcoming.result(), None
                    if event is not None:
                        after = event.id
                    if event is not None and event.kind not in TERMINAL_EVENTS:
                        yield event
                    elif (terminal := await feed.terminal_event()) is not None:
                        yield event or terminal
                        return
                    else:
                        await asyncio.wait({stop}, timeout=RESUME_SECONDS)
                        events = feed.events(after)
            finally:
                stop.cancel()
                if upcoming is not None:
                    closing = asyncio.create_task(cancel_and_wait(upcoming))
                    self._closing.add(closing)
                    closing.add_done_callback(self._closing.discard)

    async def events(
        self, feed: ProgressFeed, after: str, terminal: Event | None
    ) -> AsyncGenerator[Event | None, None]:
        """Yield what `follow` does; of a thing that has ended with `terminal`, its history and that."""
        if terminal is None:
            async with contextlib.aclosing(self.follow(feed, after)) as events:
                async for event in events:
                    yield event
            return
        for past in await _replay(feed, after, terminal):
            yield past

    async def close(self) -> None:
        """Wait until the streams that ended have unsubscribed."""
        await asyncio.gather(*self._closing, return_exceptions=True)


def encode_event(event: Event) -> bytes:
    """Return an event with its id, kind and JSON data in the format of server-sent events."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (
        event.id.encode(),
        event.kind.encode(),
        orjson.dumps(event.data),
    )


def heartbeat(last_id: str) -> Event:
    """Return an event that says nothing but that the stream is alive, under the id of the one before it."""
    return Event(last_id, "heartbeat", {"type": "heartbeat", "timestamp": iso(time.time())})


def position(last_event_id: str) -> str:
    """Return where a stream begins for a reader that saw the event of that id last; the start if it is no id."""
    return last_event_id if _EVENT_ID.fullmatch(last_event_id) else "0"


def encode_data(value: object) -> bytes:
    """Return an event without id and kind, as OpenAI's streams have them."""
    return b"data: %s\n\n" % orjson.dumps(value)


async def _next_event(events: AsyncIterator[Event]) -> Event | None:
    """Return the next event, None after the last one."""
    async for event in events:
        return event
    return None


async def _replay(feed: ProgressFeed, after: str, terminal: Event) -> list[Event]:
    """Return the history of a thing that has ended, and its end: the last such event that was published, if any."""
    history = await feed.history(after)
    published = [event for event in history if event.kind == terminal.kind]
    return [
        *(event for event in history if event.kind not in TERMINAL_EVENTS),
        published[-1] if published else terminal,
    ]


async def _encode_all(events: list[Event]) -> AsyncGenerator[bytes, None]:
    for event in events:
        yield encode_event(event)
