"""Cancellation of work whose client has disconnected."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from starlette.requests import ClientDisconnect, Request

Result = TypeVar("Result")

RETRY_SECONDS: Final = 1.0


async def while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """Await `work` and return its result; cancel it and raise ClientDisconnect if the client disconnects first.

    The body of the request must have been read.
    """
    working = asyncio.ensure_future(work)
    disconnected = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({working, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        disconnected.cancel()
        await cancel_and_wait(working)


async def cancel_and_wait(work: asyncio.Future[Result]) -> None:
    """Cancel a task until it has ended.

    One cancellation may not be enough: `asyncio.wait_for` of Python 3.11, which the Redis client sends by, loses a
    cancellation that arrives at the moment at which its work is done.
    """
    while not work.done():
        work.cancel()
        await asyncio.wait({work}, timeout=RETRY_SECONDS)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
