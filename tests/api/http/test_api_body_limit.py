"""The limit of request bodies that are read into memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest


@pytest.mark.parametrize("path", ["/api/v1/tasks", "/v1/audio/speech", "/synthesize", "/api/v1/nowhere"])
async def test_an_endless_body_is_not_read_into_memory(client: httpx.AsyncClient, path: str) -> None:
    bytes_sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal bytes_sent
        while bytes_sent < 12 << 20:
            bytes_sent += 1 << 16
            yield b" " * (1 << 16)

    chunked = await client.post(path, content=endless(), headers={"Content-Type": "application/json"})
    announced = await client.post(path, content=bytes(5 << 20), headers={"Content-Type": "application/json"})

    assert chunked.status_code == announced.status_code
    assert chunked.status_code in (400, 404, 413)
    assert path == "/api/v1/nowhere" or "4 MiB" in announced.json()["error"]["message"]
