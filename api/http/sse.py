"""Server-sent events: a stream that replays, beats, and ends with the thing it tells of."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final

import orjson

from api.http.disconnect import end
from api.http.responses import Streaming
from core.jobs.job import TERMINAL_EVENTS, Event

HEARTBEAT_SECONDS: Final = 15.0
REPLAYED_SECONDS: Final = 1.0
"""How often a history that has ended is looked at while its task goes on."""
_EVENT_ID: Final = re.compile(r"\d{1,20}-\d{1,20}")

Follow = Callable[[str], AsyncIterator[Event]]
"""Events after an id, for as long as there are any."""
LookAgain = Callable[[], Awaitable[Event | None]]
"""The terminal event of a thing that has ended, by its record; None while it goes on."""


def last_event_id(header: str | None) -> str:
    """Where a watcher that comes back goes on; anything that is no id of ours means the beginning."""
    return header if header and _EVENT_ID.fullmatch(header) else "0"


def encode(event: Event) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (
        event.id.encode(),
        event.kind.encode(),
        orjson.dumps(event.data),
    )


def data_only(value: Any) -> bytes:
    """An event without id and kind, as OpenAI's stream has them."""
    return b"data: %s\n\n" % orjson.dumps(value)


class EventStream(Streaming):
    """An answer of events that no proxy should hold back."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncGenerator[bytes, None], status_code: int = 200) -> None:
        super().__init__(content, status_code, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


class Watchers:
    """Everyone who listens to something that goes on, until it ends or the process does."""

    def __init__(self, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self.heartbeat_seconds = heartbeat_seconds
        self.stopping = asyncio.Event()
        """Set when the process was asked to end: every stream says goodbye."""
        self._leaving: set[asyncio.Task[None]] = set()

    async def watch(self, follow: Follow, after: str, look_again: LookAgain) -> AsyncGenerator[bytes, None]:
        """The encoded events of `follow(after)` until the thing has ended; a comment when nothing was said for a while.

        The record decides what has ended. It is asked with each heartbeat, so that nobody waits forever for an event
        that was lost, and at a terminal event, which is an old one when a dead letter was replayed since.
        """
        yield b": watching\n\n"  # makes the headers leave at once
        stop = asyncio.ensure_future(self.stopping.wait())
        events = follow(after)
        coming: asyncio.Future[Event | None] | None = None
        try:
            while True:
                coming = coming or asyncio.create_task(_next(events))
                await _first(coming, stop, self.heartbeat_seconds)
                if self.stopping.is_set():
                    return
                if not coming.done():
                    if (ended := await look_again()) is not None:
                        yield encode(ended)
                        return
                    yield b": still here\n\n"
                    continue
                event, coming = coming.result(), None
                if event is not None:
                    after = event.id
                if event is not None and event.kind not in TERMINAL_EVENTS:
                    yield encode(event)
                elif (ended := await look_again()) is not None:
                    yield encode(event or ended)
                    return
                else:
                    await _first(stop, stop, REPLAYED_SECONDS)
                    events = follow(after)
        finally:
            stop.cancel()
            if coming is not None:
                leaving = asyncio.create_task(end(coming))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Wait until all who left have unsubscribed."""
        await asyncio.gather(*self._leaving, return_exceptions=True)


async def _next(events: AsyncIterator[Event]) -> Event | None:
    """The next event, None when there are no more."""
    async for event in events:
        return event
    return None


async def _first(one: asyncio.Future[Any], other: asyncio.Future[Any], seconds: float) -> None:
    await asyncio.wait({one, other}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


async def replay(history: list[Event], ended: Event) -> AsyncGenerator[bytes, None]:
    """What is remembered of a thing that has ended, and its end."""
    told = [event for event in history if event.kind not in TERMINAL_EVENTS]
    ends = [event for event in history if event.kind == ended.kind]
    for event in [*told, ends[-1] if ends else ended]:
        yield encode(event)
