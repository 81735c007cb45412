"""What a queue does for those who behave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import redis

from core.errors import InvalidRequest, LeaseLost
from core.jobs.job import JobStatus, Lease, LeaseStatus, NewJob
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.logs import current_request

Take = Callable[..., Lease]


def test_a_job_is_claimed_with_all_that_was_asked_for(queue: Queue):
    job = queue.enqueue(NewJob("synthesizer", {"text": "Guten Tag, 世界"}, priority=7, topic="task-1"))

    lease = queue.claim("synthesizer", "worker-1")

    assert lease is not None
    assert (lease.job.id, lease.job.payload, lease.job.priority) == (job.id, {"text": "Guten Tag, 世界"}, 7)
    assert (lease.job.status, lease.job.worker, lease.job.topic) == (JobStatus.PROCESSING, "worker-1", "task-1")
    assert lease.expires_at == pytest.approx(lease.job.started_at + 15, abs=0.001)


def test_a_job_keeps_its_owner(queue: Queue, take: Take):
    owned = queue.enqueue(NewJob("synthesizer", {}, job_id="job-1", owner="key-1"))
    queue.enqueue(NewJob("synthesizer", {}, job_id="job-2"))

    listed, _ = queue.jobs()

    assert owned == queue.job("job-1")
    assert {job.id: job.owner for job in listed} == {"job-1": "key-1", "job-2": ""}
    assert take().job.owner == "key-1"


def test_a_job_names_the_request_that_created_it(queue: Queue, take: Take):
    marker = current_request.set("req-1")
    try:
        queue.enqueue(NewJob("synthesizer", {}, job_id="job-1"))
        queue.enqueue(NewJob("synthesizer", {}, job_id="job-2", request_id="req-2"))
    finally:
        current_request.reset(marker)

    listed, _ = queue.jobs()

    assert {job.id: job.request_id for job in listed} == {"job-1": "req-1", "job-2": "req-2"}
    assert take().job.request_id == "req-1"


def test_the_result_is_kept_with_the_job_for_its_time(queue: Queue, client: redis.Redis, take: Take):
    queue.enqueue(NewJob("synthesizer", {}, job_id="short", keep_result_seconds=90))
    queue.enqueue(NewJob("synthesizer", {}, job_id="usual"))

    queue.ack(take(), {"audio": "a.wav"})
    queue.ack(take(), {"audio": "b.wav"})

    done = queue.job("short")
    assert done is not None
    assert (done.status, done.result) == (JobStatus.DONE, {"audio": "a.wav"})
    assert done.created_at <= done.started_at <= done.finished_at
    assert 0 < client.ttl("sovits:job:short") <= 90 < client.ttl("sovits:job:usual") <= 86_400


def test_higher_priorities_come_first_and_older_jobs_within_one(queue: Queue, client: redis.Redis, take: Take):
    for number, priority in enumerate((5, 1, 10, 5, 7, 10, 1, 7, 3)):
        queue.enqueue(NewJob("synthesizer", {}, priority=priority, job_id=f"{priority}-{number}"))
    in_redis = client.lrange("sovits:worker_tasks", 0, -1)

    claimed = [take(f"worker-{n}").job.id for n in range(9)]

    assert claimed == ["10-2", "10-5", "7-4", "7-7", "5-0", "5-3", "3-8", "1-1", "1-6"]
    assert in_redis == claimed[::-1]


@pytest.mark.parametrize("priority", [0, 11])
def test_a_priority_out_of_range_is_refused(queue: Queue, priority: int):
    with pytest.raises(InvalidRequest, match="from 1"):
        queue.enqueue(NewJob("synthesizer", {}, priority=priority))

    assert queue.counters() == {}


def test_a_blocked_worker_is_woken_by_a_new_job(queue: Queue, client: redis.Redis, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("core.jobs.worker_commands.BLOCK_SECONDS", 60.0)  # the socket times out before
    leases: list[Lease | None] = []
    worker = threading.Thread(target=lambda: leases.append(queue.claim("trainer", "worker-1", block_seconds=60)))
    worker.start()
    while client.info("clients")["blocked_clients"] == 0:
        assert worker.is_alive()

    job = queue.enqueue(NewJob("trainer", {}))
    worker.join()

    assert leases[0] is not None
    assert leases[0].job.id == job.id


def test_a_claim_that_finds_nothing_ends_in_time(queue: Queue):
    began = time.monotonic()

    assert queue.claim("trainer", "worker-1", block_seconds=0.05) is None

    assert time.monotonic() - began >= 0.05


def test_the_same_id_or_idempotency_key_adds_no_second_job(queue: Queue):
    first = queue.enqueue(NewJob("splitter", {"n": 1}, job_id="a", idempotency_key="key"))

    again = queue.enqueue(NewJob("splitter", {"n": 2}, job_id="a"))
    elsewhere = queue.enqueue(NewJob("splitter", {"n": 3}, idempotency_key="key"))

    assert again == elsewhere == first
    assert queue.depths()["splitter"] == queue.counters()["submitted"] == 1


def test_many_jobs_are_enqueued_in_order_and_twins_among_them_once(queue: Queue, take: Take):
    new = [NewJob("synthesizer", {"n": n}, job_id=f"parent.{n}") for n in range(250)]

    jobs = queue.enqueue_many([*new, new[0]])

    assert [job.id for job in jobs] == [job.job_id for job in new] + ["parent.0"]
    assert [take(f"worker-{n}").job.payload["n"] for n in range(250)] == list(range(250))


def test_a_delayed_job_waits_for_its_time(queue: Queue, clock, take: Take):
    job = queue.enqueue(NewJob("synthesizer", {}, delay_seconds=30))
    promoted_early = queue.promote()

    clock.advance(31)

    assert job.status is JobStatus.DELAYED
    assert (promoted_early, queue.promote(), queue.promote()) == (0, 1, 0)
    assert take().job.id == job.id


def test_a_failing_job_is_tried_again_later_and_then_is_a_dead_letter(queue: Queue, clock, take: Take):
    queue.enqueue(NewJob("synthesizer", {"text": "boo"}, job_id="a"))

    first = queue.fail(take("worker-1"), {"code": "oops", "message": "It /broke/."})
    clock.advance(5.1)
    queue.promote()
    last = queue.fail(take("worker-2"), {"code": "oops", "message": "Again."})

    (letter,) = queue.dead_letters()
    assert (first, last) == (JobStatus.DELAYED, JobStatus.DEAD)
    assert (letter.job_id, letter.role, letter.payload) == ("a", "synthesizer", {"text": "boo"})
    assert (letter.attempts, letter.rescues, letter.error["message"]) == (2, 0, "Again.")
    assert [(entry["worker"], entry["message"]) for entry in letter.history] == [
        ("worker-1", "It /broke/."),
        ("worker-2", "Again."),
    ]


def test_retries_wait_three_times_as_long_each_but_never_above_fifteen_minutes(client: redis.Redis, clock):
    queue = Queue(client, QueueOptions(retry_attempts=10, retry_delay_seconds=5))
    queue.enqueue(NewJob("trainer", {}, job_id="a"))
    delays = []
    for _ in range(7):
        lease = queue.claim("trainer", "worker-1")
        assert lease is not None
        queue.fail(lease, {"code": "x", "message": "It failed."})
        retry_at, started_at = client.zscore("sovits:delayed", "a"), client.hget("sovits:job:a", "started_at")
        assert retry_at is not None
        assert started_at is not None
        delays.append(retry_at - float(started_at))
        clock.advance(901)
        queue.promote()

    for delay, longest in zip(delays, [5, 15, 45, 135, 405, 900, 900], strict=True):
        assert longest / 2 <= delay <= longest + 0.5


def test_a_permanent_error_is_not_tried_again(queue: Queue, take: Take):
    queue.enqueue(NewJob("synthesizer", {}))

    assert queue.fail(take(), {"code": "empty_text", "message": "It failed."}, permanent=True) is JobStatus.DEAD


def test_a_dead_letter_that_is_replayed_has_all_its_attempts_again(queue: Queue, clock, take: Take):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    queue.fail(take(), {"code": "x", "message": "It failed."}, permanent=True)

    replayed = queue.replay("a")

    assert replayed
    assert queue.dead_letters() == []
    lease = take()
    assert (lease.job.attempts, lease.job.cancel_requested) == (0, False)
    assert queue.fail(lease, {"code": "x", "message": "It failed."}) is JobStatus.DELAYED


def test_only_the_dead_can_be_replayed(queue: Queue):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))

    assert not queue.replay("a")
    assert not queue.replay("nobody")


def test_one_dead_letter_among_many_is_found(queue: Queue, take: Take):
    queue.enqueue_many([NewJob("synthesizer", {}, job_id=f"job-{n}") for n in range(120)])
    for _ in range(120):
        queue.fail(take(), {"code": "x", "message": "It failed."}, permanent=True)

    replayed = queue.replay("job-7")

    left = [letter.job_id for letter in queue.dead_letters(limit=500)]
    assert replayed
    assert left == [f"job-{n}" for n in reversed(range(120)) if n != 7]
    assert queue.depths()["dead"] == 119


def test_a_waiting_or_delayed_job_is_cancelled_at_once(queue: Queue):
    queue.enqueue(NewJob("trainer", {}, job_id="waiting"))
    queue.enqueue(NewJob("trainer", {}, job_id="delayed", delay_seconds=60))

    answers = [queue.cancel("waiting"), queue.cancel("delayed"), queue.cancel("waiting"), queue.cancel("nobody")]

    assert answers == [JobStatus.CANCELLED, JobStatus.CANCELLED, JobStatus.CANCELLED, None]
    assert queue.claim("trainer", "worker-1") is None
    assert queue.depths()["delayed"] == 0


def test_the_worker_of_a_cancelled_job_learns_of_it_and_says_when_it_has_stopped(queue: Queue, take: Take):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    lease = take()

    replies = (queue.confirm_cancel(lease), queue.renew_lease(lease), queue.cancel("a"), queue.renew_lease(lease))

    assert replies == (False, LeaseStatus.HELD, JobStatus.PROCESSING, LeaseStatus.CANCEL)
    assert queue.progress(lease, {"progress": 0.5}) is LeaseStatus.CANCEL
    assert (queue.confirm_cancel(lease), queue.confirm_cancel(lease)) == (True, True)
    assert queue.renew_lease(lease) is LeaseStatus.LOST
    stopped = queue.job("a")
    assert stopped is not None
    assert stopped.status is JobStatus.CANCELLED


@pytest.mark.parametrize("end", ["fail", "release", "rescue", "lost claim"])
def test_a_job_that_should_stop_does_not_run_again(queue: Queue, take: Take, end: str):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    lease = take()
    queue.cancel("a")

    if end == "fail":
        assert queue.fail(lease, {"code": "killed", "message": "It failed."}) is JobStatus.CANCELLED
    elif end == "release":
        assert queue.release(lease)
    elif end == "rescue":
        assert [rescued.status for rescued in queue.rescue_worker("worker-1")] == [JobStatus.CANCELLED]
    else:
        assert queue.claim("synthesizer", "worker-1") is None

    job = queue.job("a")
    assert job is not None
    assert job.status is JobStatus.CANCELLED


def test_a_result_that_came_before_the_cancel_was_heard_counts(queue: Queue, take: Take):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a"))
    lease = take()
    queue.cancel("a")

    assert queue.ack(lease, {"audio": "a.wav"})

    assert queue.cancel("a") is JobStatus.DONE


def test_a_job_handed_back_is_next_within_its_priority(queue: Queue, client: redis.Redis, take: Take):
    for name, priority in (("high", 9), ("first", 5), ("second", 5), ("low", 1)):
        queue.enqueue(NewJob("synthesizer", {}, job_id=name, priority=priority))
    high, first = take("worker-1"), take("worker-2")

    queue.release(first)
    queue.release(high)

    assert client.lrange("sovits:worker_tasks", 0, -1) == ["low", "second", "first", "high"]


def test_a_job_handed_back_stands_behind_higher_priorities(queue: Queue, client: redis.Redis, take: Take):
    queue.enqueue(NewJob("synthesizer", {}, job_id="mine", priority=5))
    lease = take()
    for name, priority in (("higher", 6), ("same", 5), ("lower", 4)):
        queue.enqueue(NewJob("synthesizer", {}, job_id=name, priority=priority))

    queue.release(lease)

    assert client.lrange("sovits:worker_tasks", 0, -1) == ["lower", "same", "mine", "higher"]


def test_failing_a_job_of_another_worker_says_so(queue: Queue, take: Take):
    queue.enqueue(NewJob("synthesizer", {}))
    lease = take()
    queue.rescue_worker("worker-1")

    with pytest.raises(LeaseLost):
        queue.fail(lease, {"code": "x", "message": "It failed."})


def test_every_end_of_a_job_is_told(queue: Queue, take: Take):
    for name in ("done", "dead", "stopped"):
        queue.enqueue(NewJob("synthesizer", {}, job_id=name))

    queue.ack(take(), {})
    queue.fail(take(), {"code": "x", "message": "No."}, permanent=True)
    queue.cancel("stopped")

    events = {name: queue.event_history(name) for name in ("done", "dead", "stopped")}
    assert {name: [event.kind for event in history] for name, history in events.items()} == {
        "done": ["completed"],
        "dead": ["failed"],
        "stopped": ["cancelled"],
    }
    assert events["dead"][0].data["error"] == {"code": "x", "message": "No."}


def test_progress_is_told_to_the_job_and_its_topic_but_the_end_to_the_job_alone(queue: Queue, take: Take):
    queue.enqueue(NewJob("synthesizer", {}, job_id="a", topic="task-1"))
    lease = take()

    queue.progress(lease, {"progress": 0.5})
    queue.progress(lease, {"epoch": 2}, "checkpoint")
    queue.ack(lease, {})

    events = [(event.kind, event.data) for event in queue.event_history("task-1")]
    assert events == [("progress", {"progress": 0.5}), ("checkpoint", {"epoch": 2})]
    assert [event.kind for event in queue.event_history("a")] == ["progress", "checkpoint", "completed"]


def test_operators_see_workers_and_what_they_hold(queue: Queue, client: redis.Redis, clock, take: Take):
    queue.register_worker("worker-1", "synthesizer", "host-1", 42, "cuda:0")
    queue.register_worker("worker-2", "trainer", "host-1", 43)
    job = queue.enqueue(NewJob("synthesizer", {}))
    take("worker-1")
    clock.advance(20)
    queue.worker_heartbeat("worker-2")

    shown = {worker.id: worker for worker in queue.workers()}
    queue.forget_worker("worker-2")

    assert (shown["worker-1"].role, shown["worker-1"].pid, shown["worker-1"].device) == ("synthesizer", 42, "cuda:0")
    assert (shown["worker-1"].job, shown["worker-2"].job) == (job.id, "")
    assert shown["worker-2"].silent_seconds < 10 < shown["worker-1"].silent_seconds
    assert [worker.id for worker in queue.workers()] == ["worker-1"]
    assert client.hget("sovits:worker:worker-1", "host") == "host-1"


def test_a_worker_silent_for_minutes_is_forgotten(queue: Queue, clock):
    queue.register_worker("worker-1", "trainer", "host-1", 42)
    queue.reap()
    seen = len(queue.workers())

    clock.advance(301)
    queue.reap()

    assert (seen, queue.workers()) == (1, [])


def test_depths_and_counters_tell_where_all_jobs_are(queue: Queue, take: Take):
    queue.enqueue_many([NewJob("synthesizer", {}) for _ in range(6)])
    queue.enqueue(NewJob("trainer", {}, delay_seconds=9))
    queue.ack(take(), {})
    queue.fail(take(), {"code": "x", "message": "It failed."}, permanent=True)
    take()

    depths, counters = queue.depths(), queue.counters()

    assert depths == {
        "splitter": 0,
        "files": 0,
        "synthesizer": 3,
        "preprocessor": 0,
        "trainer": 0,
        "processing": 1,
        "delayed": 1,
        "dead": 1,
    }
    assert counters == {"submitted": 7, "done": 1, "failed": 1, "dead": 1}


def test_a_role_nobody_wrote_down_has_a_list_of_its_own(queue: Queue, client: redis.Redis):
    job = queue.enqueue(NewJob("translator", {}))

    assert client.lrange("sovits:translator_tasks", 0, -1) == [job.id]
