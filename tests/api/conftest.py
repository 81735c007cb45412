"""A whole API on a free port, with real Redis and records, and workers that synthesize tones instead of speech."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from api_support import Api, ToneWorkers, eventually, make_voice, running

from api.app import create_app
from core.jobs.queue import AsyncQueue
from core.jobs.queue_options import QueueOptions
from core.records import Records, VoiceRecord
from core.redis import connect_async
from core.redis_server import EmbeddedServer
from core.settings import Settings, read_settings

_prefixes = itertools.count()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def settings(
    redis_server: EmbeddedServer, empty_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Of a fresh data folder and a part of Redis that nobody else uses."""
    for name in ("VALID_API_KEYS", "PORT", "API_PORT", "DATABASE_URL", "STORAGE_URL"):
        monkeypatch.delenv(name, raising=False)
    data = tmp_path / "data"
    data.mkdir()
    created = read_settings(
        data_path=data,
        port=0,
        redis_url=redis_server.url,
        redis_prefix=f"test{next(_prefixes)}:",
        worker_retry_attempts=1,
        fetch_allowed_hosts=("127.0.0.1",),
        mark_watermark=False,  # the tones of `tone_workers` are compared as they are
        mark_metadata=False,
    )
    shutil.copy(empty_records, created.resolved_database_url.partition("///")[2])
    return created


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with running(settings) as api:
        yield api


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Yield the application without a server around it, which is quicker; answers come whole, and nobody hangs up."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as created,
    ):
        yield created


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[AsyncQueue]:
    """Yield a connection of the test's own."""
    redis = connect_async(settings.redis_url)
    yield AsyncQueue(redis, QueueOptions.from_settings(settings))
    await redis.aclose()


@pytest.fixture
async def tone_workers(settings: Settings, queue: AsyncQueue) -> AsyncIterator[ToneWorkers]:
    tone_workers = ToneWorkers(settings)
    tone_workers.start()
    await eventually(lambda: _count(queue, 2))
    yield tone_workers
    await asyncio.to_thread(tone_workers.stop)


@pytest.fixture
async def records(settings: Settings) -> AsyncIterator[Records]:
    records = Records(settings.resolved_database_url)
    yield records
    await records.close()


@pytest.fixture
async def voice(records: Records) -> VoiceRecord:
    """Return a published voice named Allison."""
    return await make_voice(records, "Allison")


async def _count(queue: AsyncQueue, expected: int) -> bool:
    return len(await queue.workers()) == expected
