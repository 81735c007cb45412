"""Devices and their limits: what a worker may claim at its location, and how much of it at once."""

from __future__ import annotations

import threading
from typing import Any

import redis
from training_claims import CPU, GPU_0, GPU_1, claim, job_id_of, train

from core.jobs.devices import ANYWHERE
from core.jobs.job import NewJob, WorkerLocation
from core.jobs.queue import Queue
from core.redis import connect
from core.redis_server import EmbeddedServer


def test_what_exceeds_the_limit_waits_and_begins_when_there_is_room(queue: Queue):
    train(queue, "a", "b")
    first = claim(queue, "worker-1", CPU)
    assert first is not None

    assert claim(queue, "worker-2", CPU) is None
    assert queue.depths()["trainer"] == 1

    queue.ack(first, {})
    assert job_id_of(claim(queue, "worker-2", CPU)) == "b"


def test_two_workers_with_one_slot_never_train_at_once(server: EmbeddedServer, queue: Queue):
    train(queue, *(f"job-{n}" for n in range(20)))
    running: list[str] = []
    most: list[int] = []
    done: list[str] = []
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
    claimed = [job_id_of(claim(queue, f"worker-{n}", place)) for n, place in enumerate(places)]

    assert claimed == ["a", "b", "c", ""]


def test_the_most_urgent_begins_first_when_there_is_room_again(queue: Queue):
    train(queue, "running")
    first = claim(queue, "worker-1", CPU)
    assert first is not None
    train(queue, "later", priority=2)
    train(queue, "urgent", priority=9)

    queue.ack(first, {})

    assert job_id_of(claim(queue, "worker-2", CPU)) == "urgent"


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

    assert job_id_of(claim(queue, "worker-2", CPU)) == "a"


def test_a_claim_whose_answer_was_lost_is_no_second_job(queue: Queue):
    train(queue, "a", "b")
    claim(queue, "worker-1", CPU)

    assert job_id_of(claim(queue, "worker-1", CPU)) == "a"


def test_a_job_for_a_device_waits_for_that_device(queue: Queue):
    train(queue, "on 1", device="cuda:1")

    assert claim(queue, "worker-1", GPU_0) is None
    assert claim(queue, "worker-2", CPU) is None
    assert queue.depths()["trainer"] == 1
    assert job_id_of(claim(queue, "worker-3", GPU_1)) == "on 1"


def test_a_worker_without_a_place_takes_no_job_that_asks_for_a_device(queue: Queue):
    train(queue, "on 1", device="cuda:1")

    assert queue.claim("trainer", "worker-1") is None


def test_a_worker_takes_the_most_urgent_of_what_asks_for_it_and_what_asks_for_nothing(queue: Queue):
    train(queue, "any", priority=5)
    train(queue, "any gpu", device="cuda", priority=7)
    train(queue, "that gpu", device="cuda:0", priority=6)

    place = WorkerLocation("host", "cuda:0", "training", limit=9)
    order = [job_id_of(claim(queue, f"worker-{n}", place)) for n in range(3)]

    assert order == ["any gpu", "that gpu", "any"]


def test_a_worker_for_what_asks_for_it_leaves_the_rest(queue: Queue):
    train(queue, "any")
    place = WorkerLocation("host", "cpu", "training", 1, dedicated=True)

    assert claim(queue, "worker-1", place) is None

    train(queue, "on the cpu", device="cpu")
    assert job_id_of(claim(queue, "worker-1", place)) == "on the cpu"


def test_it_is_woken_by_such_a_job(server: EmbeddedServer, queue: Queue):
    own = connect(server.url)
    place = WorkerLocation("host", "cpu", "training", 1, dedicated=True)
    claimed: list[str] = []
    waiting = threading.Thread(target=lambda: claimed.append(job_id_of(claim(Queue(own), "worker-1", place, 20.0))))
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
    queue.fail(lease, {"code": "x", "message": "It failed."})
    client.zadd("sovits:delayed", {"a": 1})
    queue.promote()

    assert claim(queue, "worker-2", GPU_0) is None
    assert job_id_of(claim(queue, "worker-3", GPU_1)) == "a"
    assert queue.depths()["trainer"] == 0


def test_a_new_training_goes_to_the_gpu_that_trains_least(queue: Queue):
    busy, idle = WorkerLocation("host", "cuda:0", "training", 2), WorkerLocation("host", "cuda:1", "training", 2)
    for worker, device in (("worker-1", "cuda:0"), ("worker-2", "cuda:0"), ("worker-3", "cuda:1")):
        queue.register_worker(worker, "trainer", "host", 1, device)
    train(queue, "a")
    claim(queue, "worker-1", busy)
    train(queue, "b", device="cuda")

    assert claim(queue, "worker-2", busy) is None
    assert job_id_of(claim(queue, "worker-3", idle)) == "b"

    train(queue, "c", device="cuda")  # both train one now
    assert job_id_of(claim(queue, "worker-2", busy)) == "c"


def test_nobody_leaves_a_training_that_only_this_gpu_can_do(queue: Queue):
    place = WorkerLocation("host", "cuda:0", "training", 2)
    for worker, device in (("worker-1", "cuda:0"), ("worker-2", "cuda:0"), ("worker-3", "cuda:1")):
        queue.register_worker(worker, "trainer", "host", 1, device)
    train(queue, "a", "b", device="cuda:0")
    claim(queue, "worker-1", place)

    assert job_id_of(claim(queue, "worker-2", place)) == "b"


def test_a_training_that_waited_is_taken_by_whoever_comes(queue: Queue, client: redis.Redis):
    place = WorkerLocation("host", "cuda:0", "training", 2)
    for worker, device in (("worker-1", "cuda:0"), ("worker-2", "cuda:0"), ("worker-3", "cuda:1")):
        queue.register_worker(worker, "trainer", "host", 1, device)
    train(queue, "a", "b")
    claim(queue, "worker-1", place)
    client.hset("sovits:job:b", "created_at", 1)

    assert job_id_of(claim(queue, "worker-2", place)) == "b"


SPEECH = WorkerLocation("host", "cpu", "inference", 1)


def test_tasks_count_towards_the_limit_of_inferences_and_live_speech_does_not(queue: Queue):
    for number in range(3):
        queue.enqueue(NewJob("synthesizer", {}, job_id=f"task-{number}", device=ANYWHERE))
        queue.enqueue(NewJob("synthesizer", {}, job_id=f"live-{number}"))

    leases = [queue.claim("synthesizer", f"worker-{number}", location=SPEECH) for number in range(6)]

    claimed = [lease.job.id for lease in leases if lease is not None]
    assert sorted(claimed) == ["live-0", "live-1", "live-2", "task-0"]
    first = next(lease for lease in leases if lease is not None and lease.job.id == "task-0")
    queue.ack(first, {})
    following = queue.claim("synthesizer", "worker-9", location=SPEECH)
    assert following is not None
    assert following.job.id == "task-1"


def test_a_new_job_is_left_to_a_process_that_has_its_voice_loaded_and_an_older_one_is_not(
    queue: Queue, client: redis.Redis
):
    for worker in ("process-a", "process-b"):
        queue.register_worker(worker, "synthesizer", "host", 1)
    queue.hold("process-b", ["voice-1"], [])
    queue.enqueue(NewJob("synthesizer", {}, job_id="a", affinity="voice-1"))

    assert queue.claim("synthesizer", "process-a") is None
    lease = queue.claim("synthesizer", "process-b")
    assert lease is not None
    assert lease.job.id == "a"

    queue.enqueue(NewJob("synthesizer", {}, job_id="b", affinity="voice-1"))  # its holder is busy
    second = queue.claim("synthesizer", "process-a")
    assert second is not None
    queue.ack(lease, {})
    queue.ack(second, {})
    queue.enqueue(NewJob("synthesizer", {}, job_id="c", affinity="voice-1"))
    client.hset("sovits:job:c", "created_at", float(client.hget("sovits:job:c", "created_at") or 0) - 0.06)
    third = queue.claim("synthesizer", "process-a")
    assert third is not None
    assert third.job.id == "c"


def test_a_process_that_dropped_a_voice_or_died_is_not_preferred(queue: Queue, clock: Any):
    for worker in ("process-a", "process-b"):
        queue.register_worker(worker, "synthesizer", "host", 1)
    queue.hold("process-b", ["voice-1", "voice-2"], [])
    queue.hold("process-b", [], ["voice-1"])
    queue.enqueue(NewJob("synthesizer", {}, job_id="a", affinity="voice-1"))
    assert queue.claim("synthesizer", "process-a") is not None

    clock.advance(10)
    queue.enqueue(NewJob("synthesizer", {}, job_id="b", affinity="voice-2"))
    lease = queue.claim("synthesizer", "process-c")
    assert lease is not None
    assert lease.job.id == "b"


def test_a_training_on_several_gpus_takes_a_place_on_each_and_waits_until_there_is_one(queue: Queue):
    train(queue, "both", "behind", device="cuda:0-1")
    train(queue, "first", device="cuda:1", priority=6)

    first = claim(queue, "worker-1", GPU_1)
    assert first is not None
    assert first.job.id == "first"
    assert claim(queue, "worker-0", GPU_0) is None, "there is no room on the other GPU"
    queue.ack(first, {})
    both = claim(queue, "worker-0", GPU_0)
    assert both is not None
    assert both.job.id == "both"
    train(queue, "on 1", device="cuda:1")
    assert claim(queue, "worker-1", GPU_1) is None, "it uses this GPU, too"
    queue.ack(both, {})

    assert job_id_of(claim(queue, "worker-1", GPU_1)) == "behind"
    assert claim(queue, "worker-0", GPU_0) is None
    assert job_id_of(claim(queue, "worker-2", WorkerLocation("other", "cuda:1", "training", 1))) == "on 1"


def test_a_dead_worker_of_a_training_on_several_gpus_frees_them_all(queue: Queue):
    train(queue, "both", device="cuda:0-1")
    claim(queue, "worker-0", GPU_0)

    queue.rescue_worker("worker-0")

    assert job_id_of(claim(queue, "worker-1", GPU_1)) == "both"
    assert claim(queue, "worker-2", GPU_0) is None
