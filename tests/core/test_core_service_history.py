"""The last hour of the service, as it is kept in Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from core.jobs.job import NewJob
from core.jobs.queue import AsyncQueue
from core.jobs.queue_options import QueueOptions
from core.jobs.roles import SPLITTER, WAITING_LISTS
from core.limits import HostInfo, LimitService
from core.records import Records, iso, upgrade
from core.redis import connect_async
from core.redis_server import EmbeddedServer
from core.service_history import MAX_SAMPLES, ServiceHistory
from core.settings import read_settings


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[ServiceHistory]:
    server = EmbeddedServer(tmp_path / "redis")
    server.start()
    settings = read_settings(data_path=tmp_path, redis_url=server.url)
    upgrade(settings.resolved_database_url)
    redis, records = connect_async(server.url), Records(settings.resolved_database_url)
    queue = AsyncQueue(redis, QueueOptions.from_settings(settings))
    limits = LimitService(settings, records, queue)
    await limits.report_host(HostInfo("one", 2, 1000, []))
    await queue.register_worker("splitter-one-1-a", SPLITTER, "one", 1)
    await queue.enqueue(NewJob(SPLITTER, {"text": "Hello."}, job_id="job-1"))
    yield ServiceHistory(queue, limits)
    await records.close()
    await redis.aclose()
    server.stop()


async def test_a_sample_says_what_waits_runs_and_is_free(history: ServiceHistory) -> None:
    sample = await history.sample()

    assert sample["waiting"] == {role: int(role == SPLITTER) for role in WAITING_LISTS}
    assert sample["workers"] == {"splitter": 1}
    assert (sample["running"], sample["dead_letters"]) == ({}, 0)
    assert sample["hosts"] == {"one": {"memory_mb": 1000, "gpu_free_mb": None}}


async def test_two_supervisors_keep_one_sample_in_ten_seconds(history: ServiceHistory) -> None:
    await history.record()
    await history.record()

    assert len(await history.read()) == 1


async def test_no_more_than_an_hour_is_kept(history: ServiceHistory) -> None:
    for _ in range(MAX_SAMPLES + 5):
        await history._execute("DEL", history._key + ":turn")
        await history.record()
    samples = await history.read()

    assert len(samples) == MAX_SAMPLES
    times = [sample["at"] for sample in samples]
    assert times == sorted(times)


async def test_samples_of_an_earlier_version_whose_times_are_seconds_are_read_like_the_others(
    history: ServiceHistory,
) -> None:
    now = time.time()
    for seconds in (now - 7200, now - 60):
        sample = {**await history.sample(), "at": seconds}
        await history._execute("LPUSH", history._key, orjson.dumps(sample))
    await history.record()

    times = [sample["at"] for sample in await history.read()]
    assert times[0] == iso(now - 60)
    assert len(times) == 2
    assert times == sorted(times)
