"""Connections that never finish a request neither stop the service for others nor fill the log."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
import pytest
from api_support import eventually

from api.http.connections import connection_limits
from core.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[3]
HALF_A_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


@dataclass
class Api:
    """A process of the API that may open few files."""

    url: str
    log: Path
    connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def open(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        connection = await asyncio.open_connection(host, int(port))
        self.connections.append(connection)
        connection[1].write(data)
        return connection


@pytest.fixture
async def api(settings: Settings, tmp_path: Path) -> AsyncIterator[Api]:
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LD_LIBRARY_PATH")}
    environment |= {
        "DATA_PATH": str(settings.data_path),
        "PORT": "0",
        "REDIS_URL": settings.redis_url,
        "REDIS_PREFIX": settings.redis_prefix,
    }
    log = tmp_path / "api.log"
    limited = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128));"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", limited, "main.py", "api"), cwd=REPOSITORY, env=environment, stderr=file
        )
    announcement = settings.data_path / "run" / "api.json"
    await eventually(announcement.exists, seconds=60)
    running = Api(orjson.loads(announcement.read_bytes())["url"], log)
    yield running
    for _, writer in running.connections:
        writer.close()
    process.kill()
    await process.wait()


@pytest.mark.slow
async def test_two_hundred_half_sent_requests_leave_a_readable_log_and_a_service_that_recovers(api: Api) -> None:
    for _ in range(200):
        await api.open(HALF_A_REQUEST)

    for _, writer in api.connections[:150]:
        writer.close()
    async with httpx.AsyncClient(base_url=api.url, timeout=20) as client:

        async def is_alive() -> bool:
            try:
                return (await client.get("/healthz")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(is_alive, seconds=30)

    assert len(api.log.read_text().splitlines()) < 50


@pytest.mark.slow
async def test_a_head_that_does_not_arrive_in_time_ends_the_connection(api: Api) -> None:
    reader, writer = await api.open(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    slow_reader, _ = await api.open(HALF_A_REQUEST)

    # The connection that had a request already is held to the same time.
    writer.write(HALF_A_REQUEST)
    async with asyncio.timeout(40):
        ends = await asyncio.gather(slow_reader.read(), reader.read())

    assert ends[0].startswith(b"HTTP/1.1 408 ")
    assert b"HTTP/1.1 408 " in ends[1]


@pytest.mark.parametrize("file_limit", [64, 128, 1024, 65536])
def test_connections_and_backlog_leave_files_for_everything_else(file_limit: int) -> None:
    connections, backlog = connection_limits(2000, file_limit)

    assert connections >= 4
    assert backlog >= 2
    assert connections <= 2000
    assert file_limit < 200 or connections + backlog <= file_limit - 48
