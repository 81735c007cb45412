"""Work that nobody waits for any more ends, however stubborn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from api.http import disconnect


def a_request(receive: Callable[[], Awaitable[dict[str, Any]]]) -> Request:
    return Request({"type": "http", "method": "GET", "path": "/", "headers": []}, receive)


async def test_the_result_of_work_for_someone_who_stays() -> None:
    async def stay() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def work() -> int:
        return 7

    assert await disconnect.while_connected(a_request(stay), work()) == 7


async def test_work_for_someone_who_left_is_cancelled() -> None:
    ended: list[str] = []

    async def leave() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    with pytest.raises(ClientDisconnect):
        await disconnect.while_connected(a_request(leave), work())

    assert ended == ["work"]
