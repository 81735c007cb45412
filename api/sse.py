"""Server-sent events: a stream that replays, beats, and ends with the thing it tells of."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final

import orjson

from api.responses import Streaming
from core.events import TERMINAL, Event

HEARTBEAT_SECONDS: Final = 15.0
_EVENT_ID: Final = re.compile(r"\d{1,20}-\d{1,20}")

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


async def watch(
    follow: Callable[[str], AsyncIterator[Event]],
    after: str,
    look_again: LookAgain,
    stopping: asyncio.Event,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
) -> AsyncGenerator[bytes, None]:
    """The encoded events of `follow(after)` until the thing has ended; a comment when nothing was said for a while.

    The record decides what has ended: it is asked with each heartbeat, so that nobody waits forever for an event
    that was lost, and at a terminal event, which is an old one when a dead letter was replayed since.
    """
    yield b": watching\n\n"  # makes the headers leave at once
    stop = asyncio.ensure_future(stopping.wait())
    events = follow(after)
    coming: asyncio.Future[Event] | None = None
    try:
        while not stop.done():
            coming = coming or asyncio.ensure_future(anext(events))
            both: set[asyncio.Future[Any]] = {coming, stop}
            await asyncio.wait(both, timeout=heartbeat_seconds, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                event, coming = coming.result(), None
                if event.kind not in TERMINAL:
                    yield encode(event)
                elif await look_again() is None:
                    events = follow(event.id)
                else:
                    yield encode(event)
                    return
            elif not stop.done():
                ended = await look_again()
                yield encode(ended) if ended else b": still here\n\n"
                if ended:
                    return
    except StopAsyncIteration:
        return
    finally:
        stop.cancel()
        if coming is not None:
            coming.cancel()


async def replay(history: list[Event], ended: Event) -> AsyncGenerator[bytes, None]:
    """What is remembered of a thing that has ended, and its end."""
    told = [event for event in history if event.kind not in TERMINAL]
    ends = [event for event in history if event.kind == ended.kind]
    for event in [*told, ends[-1] if ends else ended]:
        yield encode(event)
