"""The service on a real Redis and real records."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from core.experiments.model_versions import ModelVersions
from core.experiments.service import ExperimentService
from core.jobs.events import Events
from core.jobs.queue import AsyncQueue, Queue
from core.records import NewFileRecord, Records
from core.redis import connect, connect_async
from core.redis_server import EmbeddedServer
from core.storage import Storage


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = EmbeddedServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect_async(redis_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def queue(redis: Redis) -> AsyncQueue:
    return AsyncQueue(redis)


@pytest.fixture
def worker(redis_url: str, redis: Redis) -> Iterator[Queue]:
    """Yield the queue as a worker sees it."""
    client = connect(redis_url)
    yield Queue(client)
    client.close()


@pytest.fixture
async def events(redis: Redis) -> AsyncIterator[Events]:
    events = Events(AsyncQueue(redis))
    yield events
    await events.close()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = Storage(tmp_path / "storage")
    storage.put_bytes("experiments/prompts/prompt.wav", b"a prompt")
    return storage


@pytest.fixture
def clock() -> Callable[[], float]:
    return time.time


@pytest.fixture
async def records(tmp_path: Path, empty_records: Path) -> AsyncIterator[Records]:
    url = f"sqlite+aiosqlite:///{shutil.copy(empty_records, tmp_path / 'records.sqlite3')}"
    records = Records(url)
    await records.files.create(
        NewFileRecord(id="file-1", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )
    yield records
    await records.close()


@pytest.fixture
def versions(tmp_path: Path) -> ModelVersions:
    """Return the versions of a folder of models that is empty at first."""
    return ModelVersions(tmp_path / "models")


@pytest.fixture
def service(
    records: Records, queue: AsyncQueue, events: Events, storage: Storage, versions: ModelVersions
) -> ExperimentService:
    return ExperimentService(records, queue, events, storage, versions=versions)


@pytest.fixture
async def service_without_queue(
    records: Records, storage: Storage, versions: ModelVersions
) -> AsyncIterator[ExperimentService]:
    """Yield the same records, but Redis does not answer."""
    client = connect_async("redis://127.0.0.1:1/0")
    events = Events(AsyncQueue(client))
    yield ExperimentService(records, AsyncQueue(client), events, storage, versions=versions)
    await events.close()
    await client.aclose()
