"""Work for someone who may leave: it stops when nobody waits for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect, Request

Result = TypeVar("Result")

AGAIN_SECONDS: Final = 1.0


async def while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """The result of `work`; if the client leaves first, `work` is cancelled and ClientDisconnect raised.

    The request's body must have been read.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()
        await end(working)


async def end(work: asyncio.Future[Any]) -> None:
    """Cancel until it has ended.

    Once may not be enough: `asyncio.wait_for` of Python 3.11, which the Redis client sends by, forgets a cancellation
    that comes in the moment in which its work is done.
    """
    while not work.done():
        work.cancel()
        await asyncio.wait({work}, timeout=AGAIN_SECONDS)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
