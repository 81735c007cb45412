"""The API as a process of its own: where it listens, what it weighs, how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest
from api_support import eventually

from core.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
MAX_MIB = 120


@pytest.fixture
async def process(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LD_LIBRARY_PATH")}
    environment |= {
        "DATA_PATH": str(settings.data_path),
        "PORT": "0",
        "REDIS_URL": settings.redis_url,
        "REDIS_PREFIX": settings.redis_prefix,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "main.py", "api", cwd=REPOSITORY, env=environment)
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_it_listens_weighs_little_and_ends_when_asked(
    settings: Settings, process: asyncio.subprocess.Process
) -> None:
    announcement = settings.data_path / "run" / "api.json"
    await eventually(announcement.exists, seconds=60)
    announced = orjson.loads(announcement.read_bytes())

    async with httpx.AsyncClient(base_url=announced["url"]) as client:
        alive = await client.get("/healthz")
    weight = resident_mib(process.pid)
    process.send_signal(signal.SIGTERM)
    code = await asyncio.wait_for(process.wait(), 20)

    assert announced["pid"] == process.pid
    assert alive.status_code == 200
    assert weight < MAX_MIB
    assert code == 0
    assert not announcement.exists()


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
