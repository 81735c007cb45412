"""Event streams by WebSocket: the events of `api/http/sse.py` as JSON messages `{id, event, data}`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Annotated, Final

import orjson
from fastapi import Query
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.http import errors
from api.http.sse import ProgressFeed, SseResponder, heartbeat, position
from core.cancellation import cancel_and_wait
from core.errors import SovitsError
from core.jobs.job import Event

logger = logging.getLogger(__name__)

LAST_EVENT_HEADER: Final = "Last-Event-ID"
NORMAL_END: Final = 1000
SERVER_STOPS: Final = 1012
"""Closing codes; after the second one, a client should connect again and resume."""

LastEventIdParameter = Annotated[
    str, Query(alias="last_event_id", description="Id of the last received event; the stream resumes after it.")
]


async def send_events(
    websocket: WebSocket,
    responder: SseResponder,
    open_feed: Callable[[], Awaitable[ProgressFeed]],
    last_event_id: str = "",
) -> None:
    """Send the events of a feed as messages and close the connection after its last one.

    A feed that cannot be opened is answered with the HTTP error instead of an upgrade. Messages of the client are
    ignored; silent intervals are filled with heartbeats.
    """
    after = position(last_event_id or websocket.headers.get(LAST_EVENT_HEADER, ""))
    try:
        feed = await open_feed()
        terminal = await feed.terminal_event()
    except SovitsError as error:
        await websocket.send_denial_response(errors.error_response(websocket, error))
        return
    await websocket.accept()
    sending = asyncio.create_task(_send(websocket, responder, responder.events(feed, after, terminal), after))
    leaving = asyncio.create_task(_receive_until_closed(websocket))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await sending
    finally:
        await cancel_and_wait(sending)
        await cancel_and_wait(leaving)


async def _send(
    websocket: WebSocket, responder: SseResponder, events: AsyncGenerator[Event | None, None], after: str
) -> None:
    last_id = after
    try:
        async with contextlib.aclosing(events):
            async for event in events:
                shown = event or heartbeat(last_id)
                last_id = shown.id
                message = {"id": shown.id, "event": shown.kind, "data": shown.data}
                await websocket.send_text(orjson.dumps(message).decode())
        await websocket.close(SERVER_STOPS if responder.stopping.is_set() else NORMAL_END)
    except WebSocketDisconnect:
        logger.debug("The reader of an event stream has left.")


async def _receive_until_closed(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        continue
