"""The end of tasks that somebody cancels."""

from __future__ import annotations

import asyncio
from typing import Any, Final

RETRY_SECONDS: Final = 1.0


async def cancel_and_wait(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks until they have ended.

    One cancellation may not be enough: `asyncio.wait_for` of Python 3.11, which the Redis client sends by, loses a
    cancellation that arrives at the moment at which its work is done.
    """
    while pending := {task for task in tasks if not task.done()}:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=RETRY_SECONDS)
