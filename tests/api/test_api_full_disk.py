"""An upload that the disk has no room for: one clear error, nothing left behind, and the server goes on."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import orjson
import pytest
from api_support import eventually, tone

from core.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
NAMESPACES = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
LIMITS = [
    pytest.param("ulimit -f 2048", "bash -c", id="limit"),
    pytest.param(
        'mount -t tmpfs -o size=2m tmpfs "$DATA_PATH/storage"',
        "unshare -rm bash -c",
        id="disk",
        marks=pytest.mark.skipif(not NAMESPACES, reason="no permission to mount a small disk"),
    ),
]


@asynccontextmanager
async def api_on_a_small_disk(settings: Settings, limit: str, shell: str) -> AsyncIterator[httpx.AsyncClient]:
    (settings.data_path / "storage").mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LD_LIBRARY_PATH")}
    environment |= {
        "DATA_PATH": str(settings.data_path),
        "PORT": "0",
        "REDIS_URL": settings.redis_url,
        "REDIS_PREFIX": settings.redis_prefix,
    }
    command = f"{limit} && exec {shlex.quote(sys.executable)} main.py api"
    process = await asyncio.create_subprocess_exec(*shell.split(), command, cwd=REPOSITORY, env=environment)
    try:
        announcement = settings.data_path / "run" / "api.json"
        await eventually(announcement.exists, seconds=60)
        url = orjson.loads(announcement.read_bytes())["url"]
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "shell"), LIMITS)
async def test_a_full_disk_during_an_upload_is_507(settings: Settings, limit: str, shell: str) -> None:
    async with api_on_a_small_disk(settings, limit, shell) as client:
        small, large = tone(1.0), tone(100.0)
        full = await client.post("/api/v1/files", files={"file": ("a.wav", large)})
        again = await client.post("/api/v1/files", files={"file": ("a.wav", small)})
        listed = (await client.get("/api/v1/files")).json()["total"]

    assert (full.status_code, full.json()["error"]["code"]) == (507, "storage_full")
    assert "Make room" in full.json()["error"]["hint"]
    assert (again.status_code, listed) == (201, 1)
    assert list(settings.storage_root.glob(".tmp/*")) == []
