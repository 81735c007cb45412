"""Limits and devices: what a worker may claim, where, and how much of it at once."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from core.errors import InvalidParameter, InvalidRequest
from core.jobs.devices import check_constraint, meets_constraint, parse_device, prefer_gpus
from core.jobs.job import Lease, NewJob, WorkerLocation
from core.jobs.placement import cap_cpu_training, locate_worker
from core.jobs.queue import AsyncQueue, Queue
from core.jobs.worker_process import GPUS, name_device
from core.limits import GpuInfo, HostInfo, LimitService
from core.records import Records, upgrade
from core.redis import connect, connect_async
from core.redis_server import EmbeddedServer
from core.settings import Settings, read_settings

CPU = WorkerLocation("host", "cpu", "training", limit=1)
GPU_0 = WorkerLocation("host", "cuda:0", "training", limit=1)
GPU_1 = WorkerLocation("host", "cuda:1", "training", limit=1)


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


def train(queue: Queue, *names: str, device: str = "", priority: int = 5) -> None:
    queue.enqueue_many([NewJob("trainer", {}, job_id=name, priority=priority, device=device) for name in names])


def claim(queue: Queue, worker: str, place: WorkerLocation, block_seconds: float = 0.0) -> Lease | None:
    return queue.claim("trainer", worker, block_seconds, place)


def name(lease: Lease | None) -> str:
    return lease.job.id if lease else ""


def test_what_exceeds_the_limit_waits_and_begins_when_there_is_room(queue: Queue):
    train(queue, "a", "b")
    first = claim(queue, "worker-1", CPU)
    assert first is not None

    assert claim(queue, "worker-2", CPU) is None
    assert queue.depths()["trainer"] == 1

    queue.ack(first, {})
    assert name(claim(queue, "worker-2", CPU)) == "b"


def test_two_workers_with_one_slot_never_train_at_once(server: EmbeddedServer, queue: Queue):
    train(queue, *(f"job-{n}" for n in range(20)))
    running, most, done = [], [], []
    lock = threading.Lock()

    def work(worker: str) -> None:
        own = connect(server.url)
        its = Queue(own)
        while len(done) < 20:
            lease = claim(its, worker, CPU, block_seconds=0.3)
            if lease is None:
                continue
            with lock:
                running.append(worker)
                most.append(len(running))
            its.renew_lease(lease)
            with lock:
                running.remove(worker)
                done.append(lease.job.id)
            its.ack(lease, {})
        own.close()

    threads = [threading.Thread(target=work, args=(f"worker-{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert max(most) == 1
    assert sorted(done) == sorted(f"job-{n}" for n in range(20))


def test_each_device_and_each_host_has_its_own_slots(queue: Queue):
    train(queue, "a", "b", "c", "d")

    places = [GPU_0, GPU_1, WorkerLocation("other", "cuda:0", "training", 1), GPU_0]
    claimed = [name(claim(queue, f"worker-{n}", place)) for n, place in enumerate(places)]

    assert claimed == ["a", "b", "c", ""]


def test_the_most_urgent_begins_first_when_there_is_room_again(queue: Queue):
    train(queue, "running")
    first = claim(queue, "worker-1", CPU)
    assert first is not None
    train(queue, "later", priority=2)
    train(queue, "urgent", priority=9)

    queue.ack(first, {})

    assert name(claim(queue, "worker-2", CPU)) == "urgent"


def test_a_worker_of_a_full_device_hands_back_what_it_popped(queue: Queue, client: redis.Redis):
    train(queue, "a", "b", "c")
    claim(queue, "worker-1", CPU)
    client.lmove("sovits:training_tasks", "sovits:processing:worker-2", "RIGHT", "LEFT")  # as a blocking pop does

    assert claim(queue, "worker-2", CPU) is None

    assert client.lrange("sovits:training_tasks", 0, -1) == ["c", "b"]


def test_a_slot_is_free_again_when_its_worker_died(queue: Queue):
    train(queue, "a")
    claim(queue, "worker-1", CPU)

    queue.rescue_worker("worker-1")

    assert name(claim(queue, "worker-2", CPU)) == "a"


def test_a_claim_whose_answer_was_lost_is_no_second_job(queue: Queue):
    train(queue, "a", "b")
    claim(queue, "worker-1", CPU)

    assert name(claim(queue, "worker-1", CPU)) == "a"


def test_a_job_for_a_device_waits_for_that_device(queue: Queue):
    train(queue, "on 1", device="cuda:1")

    assert claim(queue, "worker-1", GPU_0) is None
    assert claim(queue, "worker-2", CPU) is None
    assert queue.depths()["trainer"] == 1
    assert name(claim(queue, "worker-3", GPU_1)) == "on 1"


def test_a_worker_without_a_place_takes_no_job_that_asks_for_a_device(queue: Queue):
    train(queue, "on 1", device="cuda:1")

    assert queue.claim("trainer", "worker-1") is None


def test_a_worker_takes_the_most_urgent_of_what_asks_for_it_and_what_asks_for_nothing(queue: Queue):
    train(queue, "any", priority=5)
    train(queue, "any gpu", device="cuda", priority=7)
    train(queue, "that gpu", device="cuda:0", priority=6)

    place = WorkerLocation("host", "cuda:0", "training", limit=9)
    order = [name(claim(queue, f"worker-{n}", place)) for n in range(3)]

    assert order == ["any gpu", "that gpu", "any"]


def test_a_worker_for_what_asks_for_it_leaves_the_rest(queue: Queue):
    train(queue, "any")
    place = WorkerLocation("host", "cpu", "training", 1, dedicated=True)

    assert claim(queue, "worker-1", place) is None

    train(queue, "on the cpu", device="cpu")
    assert name(claim(queue, "worker-1", place)) == "on the cpu"


def test_it_is_woken_by_such_a_job(server: EmbeddedServer, queue: Queue):
    own = connect(server.url)
    place = WorkerLocation("host", "cpu", "training", 1, dedicated=True)
    claimed: list[str] = []
    waiting = threading.Thread(target=lambda: claimed.append(name(claim(Queue(own), "worker-1", place, 20.0))))
    waiting.start()

    train(queue, "on the cpu", device="cpu")

    waiting.join(15)
    own.close()
    assert claimed == ["on the cpu"]


def test_a_job_for_a_device_keeps_its_constraint_through_cancel_rescue_and_delay(queue: Queue, client: redis.Redis):
    train(queue, "a", "b", device="cuda:1")
    queue.cancel("b")
    lease = claim(queue, "worker-1", GPU_1)
    assert lease is not None
    queue.fail(lease, {"code": "x"})
    client.zadd("sovits:delayed", {"a": 1})
    queue.promote()

    assert claim(queue, "worker-2", GPU_0) is None
    assert name(claim(queue, "worker-3", GPU_1)) == "a"
    assert queue.depths()["trainer"] == 0


def test_a_new_training_goes_to_the_gpu_that_trains_least(queue: Queue):
    busy, idle = WorkerLocation("host", "cuda:0", "training", 2), WorkerLocation("host", "cuda:1", "training", 2)
    for worker, device in (("worker-1", "cuda:0"), ("worker-2", "cuda:0"), ("worker-3", "cuda:1")):
        queue.register_worker(worker, "trainer", "host", 1, device)
    train(queue, "a")
    claim(queue, "worker-1", busy)
    train(queue, "b", device="cuda")

    assert claim(queue, "worker-2", busy) is None
    assert name(claim(queue, "worker-3", idle)) == "b"

    train(queue, "c", device="cuda")  # both train one now
    assert name(claim(queue, "worker-2", busy)) == "c"


def test_nobody_leaves_a_training_that_only_this_gpu_can_do(queue: Queue):
    place = WorkerLocation("host", "cuda:0", "training", 2)
    for worker, device in (("worker-1", "cuda:0"), ("worker-2", "cuda:0"), ("worker-3", "cuda:1")):
        queue.register_worker(worker, "trainer", "host", 1, device)
    train(queue, "a", "b", device="cuda:0")
    claim(queue, "worker-1", place)

    assert name(claim(queue, "worker-2", place)) == "b"


def test_a_training_that_waited_is_taken_by_whoever_comes(queue: Queue, client: redis.Redis):
    place = WorkerLocation("host", "cuda:0", "training", 2)
    for worker, device in (("worker-1", "cuda:0"), ("worker-2", "cuda:0"), ("worker-3", "cuda:1")):
        queue.register_worker(worker, "trainer", "host", 1, device)
    train(queue, "a", "b")
    claim(queue, "worker-1", place)
    client.hset("sovits:job:b", "created_at", 1)

    assert name(claim(queue, "worker-2", place)) == "b"


async def test_a_limit_changed_at_run_time_holds_for_the_next_claim(limits: LimitService, queue: Queue):
    train(queue, "a", "b", "c")
    claim(queue, "worker-1", CPU)
    assert claim(queue, "worker-2", CPU) is None

    changed = await limits.change({"cpu": {"training": 2}})

    assert changed["cpu"]["training"] == 2
    assert name(claim(queue, "worker-2", CPU)) == "b"
    assert claim(queue, "worker-3", CPU) is None


async def test_a_limit_for_all_gpus_gives_way_to_one_for_a_single_gpu(limits: LimitService, queue: Queue):
    train(queue, "a", "b", "c")

    await limits.change({"cuda": {"training": 0}, "cuda:1": {"training": 2}})

    assert claim(queue, "worker-1", GPU_0) is None
    assert [name(claim(queue, f"worker-{n}", GPU_1)) for n in (2, 3, 4)] == ["a", "b", ""]


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


@pytest.mark.parametrize(
    ("text", "device"), [("", ""), (None, ""), ("auto", ""), ("CPU", "cpu"), (" cuda ", "cuda"), ("cuda:3", "cuda:3")]
)
def test_devices_are_named_in_one_way(text: str | None, device: str):
    assert parse_device(text) == device


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:100", "cpu:0", "cuda:1,2"])
def test_other_names_are_refused(text: str):
    with pytest.raises(InvalidParameter, match="device is"):
        parse_device(text)


@pytest.mark.parametrize(
    ("constraint", "suited"),
    [
        ("", {"cpu", "cuda:0", "cuda:1", "cuda:10"}),
        ("cpu", {"cpu"}),
        ("cuda", {"cuda:0", "cuda:1", "cuda:10"}),
        ("cuda:1", {"cuda:1"}),
        ("cuda:0-10", {"cuda:0", "cuda:10"}),
    ],
)
def test_people_and_the_queue_agree_on_what_fits(queue: Queue, constraint: str, suited: set[str]):
    devices = ("cpu", "cuda:0", "cuda:1", "cuda:10")

    claimed = set()
    for device in devices:
        train(queue, f"job on {device}", device=constraint)
        lease = claim(queue, f"worker {device}", WorkerLocation("host", device))
        if lease is not None:
            claimed.add(device)
            queue.ack(lease, {})

    assert claimed == {device for device in devices if meets_constraint(device, constraint)} == suited


def test_a_device_that_no_host_has_is_refused_with_what_there_is():
    with pytest.raises(InvalidRequest, match="No host has the GPU cuda:4") as refused:
        check_constraint("cuda:4", {"cuda:0", "cpu"})

    assert "cpu, cuda:0" in refused.value.hint


@pytest.mark.parametrize(
    ("constraint", "devices"), [("cuda:4", set()), ("cuda", {"cuda:7"}), ("", {"cpu"}), ("cpu", {"cpu"})]
)
def test_a_device_that_may_come_or_is_there_is_accepted(constraint: str, devices: set[str]):
    check_constraint(constraint, devices)


@pytest.mark.parametrize(
    ("numbers", "devices", "constraint"),
    [
        ("0", {"cuda:0", "cuda:1"}, ""),
        ("1", {"cuda:0", "cuda:1"}, "cuda:1"),
        ("0-1-2", {"cuda:0", "cuda:2", "cpu"}, "cuda:0-2"),
        ("0-1-2", {"cpu"}, ""),
    ],
)
def test_gpu_numbers_are_a_preference(numbers: str, devices: set[str], constraint: str):
    assert prefer_gpus(numbers, devices) == constraint


def test_a_gpu_has_the_drivers_number_whatever_its_worker_was_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(GPUS, "0=GPU-a,3=GPU-b")

    assert [name_device(device) for device in ("cpu", "cuda:GPU-b", "cuda:2", "cuda")] == [
        "cpu",
        "cuda:3",
        "cuda:2",
        "cuda:0",
    ]


def test_only_training_and_speech_are_limited(settings: Settings):
    assert locate_worker(settings, "trainer", "host", "cpu") == WorkerLocation("host", "cpu", "training", 1)
    assert locate_worker(settings, "synthesizer", "host", "cuda:0") == WorkerLocation("host", "cuda:0", "inference", 3)
    assert locate_worker(settings, "preprocessor", "host", "cpu").kind == ""


def test_a_training_on_a_cpu_leaves_room_for_speech(settings: Settings):
    small, large = cap_cpu_training(settings, 8, 4), cap_cpu_training(settings, 1, 32)

    assert (small.batch_size, small.threads, small.note) == (4, 4, "")
    assert (large.batch_size, large.threads) == (8, 1)
    assert "32 is above CPU_TRAINING_MAX_BATCH_SIZE" in large.note
