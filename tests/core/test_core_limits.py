"""Limits that change at run time, and what hosts report."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis
from training_claims import CPU, GPU_0, GPU_1, claim, job_id_of, train

from core.errors import InvalidParameter
from core.jobs.queue import AsyncQueue, Queue
from core.limits import GpuInfo, HostInfo, LimitService
from core.records import Records, upgrade
from core.redis import connect_async
from core.redis_server import EmbeddedServer
from core.settings import Settings, read_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(data_path=tmp_path, max_training_concurrent_cpu=1, max_inference_concurrent_gpu=3)


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[Records]:
    url = f"sqlite+aiosqlite:///{tmp_path}/records.sqlite3"
    upgrade(url)
    client = Records(url)
    yield client
    await client.close()


@pytest.fixture
async def limits(
    server: EmbeddedServer, client: redis.Redis, settings: Settings, records: Records
) -> AsyncIterator[LimitService]:
    there = connect_async(server.url)
    yield LimitService(settings, records, AsyncQueue(there))
    await there.aclose()


async def test_a_limit_changed_at_run_time_holds_for_the_next_claim(limits: LimitService, queue: Queue):
    train(queue, "a", "b", "c")
    claim(queue, "worker-1", CPU)
    assert claim(queue, "worker-2", CPU) is None

    changed = await limits.change({"cpu": {"training": 2}})

    assert changed["cpu"]["training"] == 2
    assert job_id_of(claim(queue, "worker-2", CPU)) == "b"
    assert claim(queue, "worker-3", CPU) is None


async def test_a_limit_for_all_gpus_gives_way_to_one_for_a_single_gpu(limits: LimitService, queue: Queue):
    train(queue, "a", "b", "c")

    await limits.change({"cuda": {"training": 0}, "cuda:1": {"training": 2}})

    assert claim(queue, "worker-1", GPU_0) is None
    assert [job_id_of(claim(queue, f"worker-{n}", GPU_1)) for n in (2, 3, 4)] == ["a", "b", ""]


async def test_limits_come_back_when_redis_lost_them(limits: LimitService, queue: Queue, client: redis.Redis):
    await limits.change({"cpu": {"training": 0}})
    client.flushall()
    train(queue, "a")

    await limits.restore()

    assert claim(queue, "worker-1", CPU) is None


async def test_an_old_copy_of_the_limits_does_not_take_the_place_of_a_newer_one(
    limits: LimitService, client: redis.Redis
):
    await limits.change({"cpu": {"training": 5}})
    client.hset("sovits:limits", mapping={"changed at": "9e12", "training cpu": 7})  # another host's, a moment later

    await limits.restore()

    assert client.hget("sovits:limits", "training cpu") == "7"


async def test_a_limit_returns_to_the_settings(limits: LimitService):
    await limits.change({"cpu": {"training": 5, "inference": 1}})

    assert (await limits.change({"cpu": {"training": None}}))["cpu"] == {"training": 1, "inference": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"tpu": {"training": 1}},
        {"cuda:01": {"training": 1}},
        {"CPU": {"training": 1}},
        {"cpu": {"talking": 1}},
        {"cpu": {"training": -1}},
        {"cpu": {"training": 65}},
    ],
)
async def test_a_limit_that_cannot_be_is_refused_and_nothing_changes(
    limits: LimitService, changes: dict[str, dict[str, int | None]]
):
    with pytest.raises(InvalidParameter):
        await limits.change({"cuda": {"training": 3}, **changes})

    assert "cuda" not in await limits.limits()


async def test_what_runs_is_shown_with_its_device(limits: LimitService, queue: Queue):
    queue.register_worker("worker-1", "trainer", "host", 1, "cuda:1")
    queue.register_worker("worker-2", "preprocessor", "host", 2, "cpu")
    train(queue, "a")
    claim(queue, "worker-1", GPU_1)

    active = await limits.active()

    assert [(job.job_id, job.kind, job.device) for job in active] == [("a", "training", "cuda:1")]
    assert (await limits.limits())["cuda:1"] == {"training": 1, "inference": 3}


async def test_hosts_tell_of_themselves(limits: LimitService):
    gpu = GpuInfo("there", 0, "cuda:0", "Test", "GPU-1", 24_000, 8_000)

    await limits.report_host(HostInfo("there", 8, 32_000, [gpu]))
    await limits.report_host(HostInfo("here", 2, 4_000, []))

    assert [(host.host, host.gpus) for host in await limits.hosts()] == [("here", []), ("there", [gpu])]
