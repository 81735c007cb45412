"""What a queue does when machines, networks and people misbehave. The faults are those of docs/architecture.md."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import redis.asyncio

from core.errors import QueueUnavailable
from core.jobs.job import JobStatus, Lease, LeaseStatus, NewJob
from core.jobs.queue import AsyncQueue, Queue
from core.redis import connect, connect_async, is_connection_error
from core.redis_server import EmbeddedServer

Take = Callable[..., Lease]


def status(queue: Queue, job_id: str) -> JobStatus:
    job = queue.job(job_id)
    assert job is not None
    return job.status


def move_without_claim(client: redis.Redis, worker_id: str) -> str:
    """Return what is left of a worker that was killed between the blocking pop and its claim."""
    moved = client.lmove("sovits:worker_tasks", f"sovits:processing:{worker_id}", "RIGHT", "LEFT")
    return str(moved)


def test_a_job_whose_lease_ran_out_goes_to_the_next_worker(queue: Queue, clock, take: Take):
    job = queue.enqueue(NewJob("synthesizer", {}, topic="task-1"))
    take("worker-1")
    early = queue.reap()

    clock.advance(16)
    (rescued,) = queue.reap()

    assert early == []
    assert (rescued.job_id, rescued.role, rescued.status) == (job.id, "synthesizer", JobStatus.WAITING)
    assert rescued.topic == "task-1"
    lease = take("worker-2")
    assert (lease.job.id, lease.job.rescues, lease.job.attempts, lease.token) == (job.id, 1, 0, 2)


def test_a_beat_keeps_the_lease(queue: Queue, clock, take: Take):
    queue.enqueue(NewJob("synthesizer", {}))
    lease = take()
    for _ in range(4):
        clock.advance(10)
        assert queue.renew_lease(lease) is LeaseStatus.HELD
        assert queue.reap() == []


def test_an_ack_that_comes_after_the_job_was_taken_back_is_refused(queue: Queue, clock, take: Take):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    frozen = take("worker-1")
    clock.advance(16)
    queue.reap()
    while_waiting = (queue.ack(frozen, {"by": 1}), queue.renew_lease(frozen), queue.release(frozen))

    lease = take("worker-2")
    while_taken = (
        queue.ack(frozen, {"by": 1}),
        queue.renew_lease(frozen),
        queue.progress(frozen, {}),
        queue.release(frozen),
    )

    assert while_waiting == (False, LeaseStatus.LOST, False)
    assert while_taken == (False, LeaseStatus.LOST, LeaseStatus.LOST, False)
    assert queue.ack(lease, {"by": 2})
    assert not queue.ack(frozen, {"by": 1})
    job = queue.job("a")
    assert job is not None
    assert (job.result, queue.counters()["done"]) == ({"by": 2}, 1)


def test_killed_between_taking_and_claiming(queue: Queue, client: redis.Redis, clock, take: Take):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    queue.claim("trainer", "worker-1")  # a worker always asks before it blocks
    move_without_claim(client, "worker-1")

    first = queue.reap()
    clock.advance(9)
    second = queue.reap()
    clock.advance(2)
    third = queue.reap()

    assert (first, second) == ([], [])
    assert [rescued.job_id for rescued in third] == ["a"]
    job = take("worker-2").job
    assert (job.id, job.rescues) == ("a", 0)


def test_a_dead_workers_unclaimed_job_goes_back_at_once(queue: Queue, client: redis.Redis, take: Take):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    move_without_claim(client, "worker-1")

    (rescued,) = queue.rescue_worker("worker-1")

    assert (rescued.job_id, rescued.status) == ("a", JobStatus.WAITING)
    assert take("worker-2").job.rescues == 0


def test_a_pop_for_a_worker_that_was_just_buried_is_found(queue: Queue, client: redis.Redis, clock):
    queue.register_worker("worker-1", "synthesizer", "host-1", 42)
    queue.rescue_worker("worker-1")
    queue.forget_worker("worker-1")
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    move_without_claim(client, "worker-1")

    queue.reap()
    clock.advance(11)

    assert [rescued.job_id for rescued in queue.reap()] == ["a"]


def test_cancelled_between_taking_and_claiming(queue: Queue, client: redis.Redis):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    move_without_claim(client, "worker-1")

    cancelled = queue.cancel("a")

    assert cancelled is JobStatus.CANCELLED
    assert queue.claim("synthesizer", "worker-1") is None
    assert client.llen("sovits:processing:worker-1") == 0


def test_the_answer_to_an_enqueue_is_lost(queue: Queue, distant_queue: Queue, wire):
    wire.lose_reply_to(b"EVALSHA")

    job = distant_queue.enqueue(NewJob("synthesizer", {"n": 1}))

    assert wire.lost == 1
    assert queue.depths()["synthesizer"] == queue.counters()["submitted"] == 1
    assert queue.job(job.id) == job


def test_the_answer_to_a_claim_is_lost(queue: Queue, distant_queue: Queue, wire):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    wire.lose_reply_to(b"EVALSHA")

    lease = distant_queue.claim("synthesizer", "worker-1")

    assert wire.lost == 1
    assert lease is not None
    assert lease.job.id == "a"
    assert (lease.job.rescues, lease.job.attempts) == (0, 0)
    assert distant_queue.ack(lease, {})


def test_the_answer_to_a_blocking_pop_is_lost(queue: Queue, client: redis.Redis, distant_queue: Queue, wire):
    wire.lose_reply_to(b"BLMOVE")
    met: list[Exception] = []

    def work() -> None:
        try:
            distant_queue.claim("synthesizer", "worker-1", block_seconds=30)
        except redis.ConnectionError as error:
            met.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    while client.info("clients")["blocked_clients"] == 0:
        assert worker.is_alive()
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    worker.join()

    lease = distant_queue.claim("synthesizer", "worker-1")

    assert (len(met), wire.lost) == (1, 1)
    assert lease is not None
    assert lease.job.id == "a"


def test_a_worker_that_leaves_hands_back_what_it_never_heard_of(queue: Queue, client: redis.Redis, take: Take):
    queue.enqueue_many([NewJob("synthesizer", {}, job_id=name) for name in ("claimed", "moved", "stopped")])
    take("worker-1")
    move_without_claim(client, "worker-1")
    move_without_claim(client, "worker-1")
    queue.cancel("stopped")

    returned = (queue.reconcile("worker-1", held=["claimed"]), queue.reconcile("worker-1"), queue.reconcile("worker-1"))

    assert returned == (1, 1, 0)
    assert client.lrange("sovits:worker_tasks", 0, -1) == ["moved", "claimed"]
    assert take("worker-2").job.rescues == 0


def test_the_answer_to_an_ack_is_lost(queue: Queue, distant_queue: Queue, wire):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    lease = distant_queue.claim("synthesizer", "worker-1")
    assert lease is not None
    wire.lose_reply_to(b"EVALSHA")

    acked = distant_queue.ack(lease, {"audio": "a.wav"})

    assert (acked, wire.lost) == (True, 1)
    assert queue.counters()["done"] == 1
    assert [event.kind for event in queue.event_history("a")] == ["completed"]


def test_the_answer_to_a_failure_or_an_event_is_lost(queue: Queue, distant_queue: Queue, wire):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    lease = distant_queue.claim("synthesizer", "worker-1")
    assert lease is not None
    wire.lose_reply_to(b"EVALSHA")
    status = distant_queue.progress(lease, {"progress": 0.5})
    wire.lose_reply_to(b"EVALSHA")

    failed = distant_queue.fail(lease, {"code": "x", "message": "It failed."})

    assert (status, failed, wire.lost) == (LeaseStatus.HELD, JobStatus.DELAYED, 2)
    job = queue.job("a")
    assert job is not None
    assert job.attempts == 1
    assert len(queue.event_history("a")) == 1


def test_two_reapers_at_once(queue: Queue, client: redis.Redis, clock, take: Take):
    queue.enqueue_many([NewJob("synthesizer", {}) for _ in range(40)])
    for number in range(40):
        take(f"worker-{number}")
    clock.advance(16)

    with ThreadPoolExecutor(4) as reapers:
        rescued = [job for batch in reapers.map(lambda _: queue.reap(), range(4)) for job in batch]

    assert len(rescued) == len({job.job_id for job in rescued}) == 40
    assert queue.depths()["synthesizer"] == 40
    assert queue.counters()["rescued"] == 40


def test_more_leases_than_one_batch_run_out(queue: Queue, clock, take: Take):
    queue.enqueue_many([NewJob("synthesizer", {}) for _ in range(230)])
    for number in range(230):
        take(f"worker-{number}")
    clock.advance(16)

    assert len(queue.reap()) == 230


def test_a_job_that_kills_three_workers_is_poison(queue: Queue, take: Take):
    queue.enqueue(NewJob("synthesizer", {"text": "boom"}, job_id="a"))
    outcomes = []
    for number in range(3):
        take(f"worker-{number}")
        outcomes += queue.rescue_worker(f"worker-{number}")

    (letter,) = queue.dead_letters()
    assert [outcome.status for outcome in outcomes] == [JobStatus.WAITING, JobStatus.WAITING, JobStatus.DEAD]
    assert (letter.error["code"], letter.rescues, letter.attempts) == ("poison", 3, 0)
    assert "worker-2" in letter.error["hint"]
    assert [entry["worker"] for entry in letter.history] == ["worker-0", "worker-1", "worker-2"]
    assert [event.kind for event in queue.event_history("a")] == ["failed"]


def test_rescues_spread_over_many_days_make_no_poison(queue: Queue, clock, take: Take):
    queue.enqueue(NewJob("trainer", {}, job_id="a"))
    for number in range(6):
        take(f"worker-{number}", "trainer")
        (rescued,) = queue.rescue_worker(f"worker-{number}")
        clock.advance(37 * 3600)

        assert rescued.status is JobStatus.WAITING
    job = queue.job("a")
    assert job is not None
    assert job.rescues == 6


def test_ten_redeployments_in_a_row_count_as_nothing(queue: Queue, take: Take):
    queue.enqueue(NewJob("trainer", {}, job_id="a"))
    for number in range(10):
        assert queue.release(take(f"worker-{number}", "trainer"))

    job = take("worker-10", "trainer").job
    assert (job.id, job.attempts, job.rescues) == ("a", 0, 0)


def test_the_same_dead_letter_replayed_twice_runs_once(queue: Queue, take: Take):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    queue.fail(take(), {"code": "x", "message": "It failed."}, permanent=True)

    with ThreadPoolExecutor(4) as people:
        answers = list(people.map(lambda _: queue.replay("a"), range(4)))

    assert sorted(answers) == [False, False, False, True]
    assert queue.depths()["synthesizer"] == 1


def test_two_hosts_with_the_same_idempotency_key_make_one_job(queue: Queue):
    with ThreadPoolExecutor(8) as hosts:
        jobs = list(hosts.map(lambda n: queue.enqueue(NewJob("splitter", {"n": n}, idempotency_key="key")), range(32)))

    assert len({job.id for job in jobs}) == 1
    assert queue.counters()["submitted"] == 1


def test_clocks_an_hour_off_change_nothing(queue: Queue, take: Take, monkeypatch: pytest.MonkeyPatch):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    lease = take()

    monkeypatch.setattr(time, "time", lambda: real() + 3600)

    assert abs(lease.expires_at - 15 - real()) < 60
    assert queue.reap() == []
    assert queue.ack(lease, {})


def test_the_server_forgets_its_scripts_in_the_middle(queue: Queue, client: redis.Redis, take: Take):
    queue.enqueue(NewJob("synthesizer", {}))
    client.script_flush()
    lease = take()
    client.script_flush()

    assert queue.ack(lease, {})
    client.script_flush()
    assert queue.reap() == []


@pytest.fixture
def full(client: redis.Redis) -> Iterator[Callable[[], None]]:
    """Leaves the server no memory."""

    def fill() -> None:
        client.config_set("maxmemory", 1)

    yield fill
    client.config_set("maxmemory", 0)


def test_with_memory_full_new_work_is_refused_whole_and_work_in_hand_goes_on(
    queue: Queue, client: redis.Redis, clock, take: Take, full: Callable[[], None]
):
    names = ("acked", "failed", "buried", "released", "stopped", "rescued", "lost", "waiting")
    queue.enqueue_many([NewJob("synthesizer", {}, job_id=name) for name in names])
    queue.enqueue(NewJob("trainer", {}, job_id="due", delay_seconds=1))
    leases = {name: take(f"worker-{name}") for name in names[:-1]}
    queue.reap()
    clock.advance(16)
    before = sorted(client.scan_iter("*"))
    full()

    with pytest.raises(redis.OutOfMemoryError) as refused:
        queue.enqueue_many(
            [NewJob("synthesizer", {}, job_id="new-1", idempotency_key="new"), NewJob("trainer", {}, job_id="new-2")]
        )

    assert is_connection_error(refused.value)
    assert sorted(client.scan_iter("*")) == before
    assert queue.counters()["submitted"] == 9
    assert [queue.renew_lease(leases["acked"]), queue.progress(leases["acked"], {"progress": 1})] == [
        LeaseStatus.HELD,
        LeaseStatus.HELD,
    ]
    assert queue.ack(leases["acked"], {"audio": "a.wav"})
    assert queue.fail(leases["failed"], {"code": "x", "message": "It failed."}) is JobStatus.DELAYED
    assert queue.fail(leases["buried"], {"code": "x", "message": "It failed."}, permanent=True) is JobStatus.DEAD
    assert queue.release(leases["released"])
    assert queue.cancel("stopped") is JobStatus.PROCESSING
    assert queue.confirm_cancel(leases["stopped"])
    assert [rescued.job_id for rescued in queue.rescue_worker("worker-rescued")] == ["rescued"]
    assert queue.cancel("waiting") is JobStatus.CANCELLED
    assert queue.promote() == 1
    assert [rescued.job_id for rescued in queue.reap()] == ["lost"]
    queue.worker_heartbeat("worker-1")
    assert queue.replay("buried")
    assert {take(f"next-{n}").job.id for n in range(4)} == {"released", "rescued", "lost", "buried"}
    assert take("worker-t", "trainer").job.id == "due"


async def test_with_memory_full_the_api_hears_that_the_queue_is_unavailable(
    server: EmbeddedServer, full: Callable[[], None]
):
    client = connect_async(server.url)
    queue = AsyncQueue(client)
    full()

    with pytest.raises(QueueUnavailable, match="memory"):
        await queue.enqueue(NewJob("synthesizer", {}))

    assert await queue.counters() == {}
    await client.aclose()


def test_a_server_that_only_reads_is_unavailable(queue: Queue, client: redis.Redis):
    client.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(redis.RedisError) as refused:
            queue.enqueue(NewJob("synthesizer", {}))
    finally:
        client.replicaof("NO", "ONE")

    assert is_connection_error(refused.value)
    assert queue.depths()["synthesizer"] == 0


def test_what_was_acknowledged_survives_a_kill_of_the_server(own_server: EmbeddedServer):
    url, client = own_server.url, connect(own_server.url)
    queue = Queue(client)
    queue.enqueue_many([NewJob("synthesizer", {"n": n}, job_id=f"job-{n}", priority=1 + n % 3) for n in range(200)])
    done, held = queue.claim("synthesizer", "worker-1"), queue.claim("synthesizer", "worker-2")
    assert done is not None
    assert held is not None
    queue.ack(done, {"audio": "a.wav"})
    order = client.lrange("sovits:worker_tasks", 0, -1)
    assert own_server.process is not None
    os.kill(own_server.process.pid, signal.SIGKILL)
    own_server.process.wait()

    own_server.start()

    assert own_server.url == url
    assert client.lrange("sovits:worker_tasks", 0, -1) == order
    assert len(order) == 198
    assert status(queue, done.job.id) is JobStatus.DONE
    assert queue.renew_lease(held) is LeaseStatus.HELD
    assert queue.ack(held, {})
    client.close()


def test_after_an_outage_workers_have_a_lease_to_come_back_in(queue: Queue, clock, take: Take):
    queue.enqueue_many([NewJob("trainer", {}, job_id=name) for name in ("comes back", "is gone")])
    queue.reap()
    back, _gone = take("worker-1", "trainer"), take("worker-2", "trainer")

    clock.advance_in_an_outage(120)
    after_outage = queue.reap()
    beat = queue.renew_lease(back)
    clock.advance(10)
    queue.renew_lease(back)
    clock.advance(6)

    assert (after_outage, beat) == ([], LeaseStatus.HELD)
    assert [rescued.job_id for rescued in queue.reap()] == ["is gone"]


def test_the_rescue_from_a_worker_that_was_only_cut_off_is_uncounted_once(queue: Queue, clock, take: Take):
    queue.enqueue(NewJob("trainer", {}, job_id="a"))
    take("worker-1", "trainer")
    clock.advance(16)
    queue.reap()
    counted = queue.job("a")

    another = queue.undo_rescue("worker-1", "another job")
    undone = [queue.undo_rescue("worker-1", "a") for _ in range(2)]

    assert counted is not None
    assert (counted.rescues, another, undone) == (1, False, [True, False])
    lease = take("worker-2", "trainer")
    assert lease.job.rescues == 0
    assert queue.ack(lease, {})


def test_a_worker_that_left_in_an_outage_four_times_does_not_make_its_job_poison(queue: Queue, clock, take: Take):
    queue.enqueue(NewJob("trainer", {}, job_id="a"))
    for number in range(4):
        take(f"worker-{number}", "trainer")
        clock.advance(16)
        queue.reap()
        assert queue.reconcile(f"worker-{number}") == 0  # the reaper was quicker

    assert take("worker-9", "trainer").job.rescues == 0


def test_a_late_beat_before_the_reaper_keeps_the_job(queue: Queue, clock, take: Take):
    queue.enqueue(NewJob("trainer", {}))
    lease = take("worker-1", "trainer")
    clock.advance(16)

    assert queue.renew_lease(lease) is LeaseStatus.HELD
    assert queue.reap() == []
    assert queue.ack(lease, {})


async def test_without_a_server_every_call_says_that_the_queue_is_unavailable(own_server: EmbeddedServer):
    client = connect_async(own_server.url)
    queue = AsyncQueue(client)
    own_server.stop()

    with pytest.raises(QueueUnavailable):
        await queue.enqueue(NewJob("synthesizer", {}))
    with pytest.raises(QueueUnavailable):
        await queue.claim("synthesizer", "worker-1", block_seconds=1)
    await client.aclose()
