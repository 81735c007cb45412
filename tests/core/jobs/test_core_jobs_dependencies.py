"""Jobs that wait for other jobs: they begin when the last one has ended, and are listed like all others."""

from __future__ import annotations

from typing import Literal

import pytest
import redis

from core.jobs.job import JobStatus, Lease, NewJob
from core.jobs.queue import Queue


def claim(queue: Queue, worker: str = "worker-1") -> Lease:
    lease = queue.claim("synthesizer", worker)
    assert lease is not None
    return lease


def enqueue(queue: Queue, *ids: str) -> None:
    queue.enqueue_many([NewJob("synthesizer", {}, job_id=job_id) for job_id in ids])


def enqueue_dependent(
    queue: Queue, job_id: str, *dependencies: str, on_dependency_failure: Literal["wait", "start"] = "wait"
) -> None:
    queue.enqueue(
        NewJob("splitter", {}, job_id=job_id, depends_on=dependencies, on_dependency_failure=on_dependency_failure)
    )


def status(queue: Queue, job_id: str) -> JobStatus:
    job = queue.job(job_id)
    assert job is not None
    return job.status


def test_a_job_waits_until_all_that_it_follows_have_ended(queue: Queue):
    enqueue(queue, "a", "b")
    enqueue_dependent(queue, "last", "a", "b")

    queue.ack(claim(queue), {})
    waiting = queue.job("last")
    queue.fail(claim(queue), {"code": "x", "message": "No."}, permanent=True)

    assert waiting is not None
    assert (waiting.status, waiting.pending_dependencies) == (JobStatus.DELAYED, 1)
    assert queue.promote() == 0
    lease = queue.claim("splitter", "worker-2")
    assert lease is not None
    assert (lease.job.id, lease.job.pending_dependencies) == ("last", 0)


def test_a_job_that_follows_nothing_that_goes_on_waits_for_nobody(queue: Queue):
    enqueue(queue, "a")
    queue.ack(claim(queue), {})

    enqueue_dependent(queue, "last", "a", "unknown")

    assert status(queue, "last") is JobStatus.WAITING


def test_a_job_that_starts_on_failure_starts_when_the_first_dependency_fails(queue: Queue):
    enqueue(queue, "a", "b", "c")
    enqueue_dependent(queue, "hasty", "a", "b", "c", on_dependency_failure="start")
    enqueue_dependent(queue, "calm", "a", "b", "c")

    queue.ack(claim(queue), {})
    before = status(queue, "hasty")
    queue.cancel("b")

    assert (before, status(queue, "hasty"), status(queue, "calm")) == (
        JobStatus.DELAYED,
        JobStatus.WAITING,
        JobStatus.DELAYED,
    )
    queue.cancel("c")
    assert status(queue, "calm") is JobStatus.WAITING
    assert queue.depths()["splitter"] == 2, "the second end does not bring it in twice"


def test_a_job_can_be_told_to_wait_for_more_as_long_as_it_has_not_begun(queue: Queue, client: redis.Redis):
    enqueue(queue, "a", "b")
    enqueue_dependent(queue, "last", "a")

    assert queue.add_dependencies("last", ["b"])
    assert queue.add_dependencies("last", ["b"]), "again, as after a crash"
    queue.ack(claim(queue), {})
    between = status(queue, "last")
    queue.ack(claim(queue), {})

    assert (between, status(queue, "last")) == (JobStatus.DELAYED, JobStatus.WAITING)
    queue.claim("splitter", "worker-2")
    assert not queue.add_dependencies("last", ["b"])
    assert not queue.add_dependencies("unknown", ["b"])
    assert not list(client.scan_iter("sovits:followers:*"))


def test_a_waiting_job_steps_back_when_it_is_told_to_wait_for_another(queue: Queue):
    enqueue(queue, "a")
    enqueue_dependent(queue, "last")

    queue.add_dependencies("last", ["a"])

    assert queue.claim("splitter", "worker-2") is None
    queue.ack(claim(queue), {})
    assert queue.claim("splitter", "worker-2") is not None


def test_a_cancelled_follower_is_not_brought_back(queue: Queue):
    enqueue(queue, "a")
    enqueue_dependent(queue, "last", "a")

    queue.cancel("last")
    queue.ack(claim(queue), {})

    assert status(queue, "last") is JobStatus.CANCELLED
    assert queue.claim("splitter", "worker-2") is None


def test_a_replayed_job_waits_for_its_replayed_parts(queue: Queue):
    enqueue(queue, "a", "b")
    enqueue_dependent(queue, "last", "a", "b", on_dependency_failure="start")
    queue.fail(claim(queue), {"code": "x", "message": "No."}, permanent=True)
    queue.cancel("b")
    lease = queue.claim("splitter", "worker-2")
    assert lease is not None
    queue.fail(lease, {"code": "x", "message": "No."}, permanent=True)

    assert queue.replay("a")
    assert not queue.replay("b")
    assert queue.replay("b", include_cancelled=True)
    assert queue.replay("last", depends_on=["a", "b"])

    assert (status(queue, "last"), queue.dead_letters()) == (JobStatus.DELAYED, [])
    queue.ack(claim(queue), {})
    queue.ack(claim(queue), {})
    assert status(queue, "last") is JobStatus.WAITING


@pytest.mark.parametrize("kind", ["", "speech"])
def test_jobs_are_listed_newest_first_until_they_are_forgotten(queue: Queue, client: redis.Redis, kind: str):
    ids = ["speech-1", "speech-2", "speech-2.0", "infer-1"]
    for job_id in ids:
        enqueue(queue, job_id)
    queue.cancel("speech-1")
    expected = ids[::-1] if not kind else ["speech-2", "speech-1"]

    jobs, total = queue.jobs(kind)
    page, _ = queue.jobs(kind, offset=1, limit=1)

    assert ([job.id for job in jobs], total) == (expected, len(expected))
    assert [job.id for job in page] == expected[1:2]
    assert jobs[-1].status is JobStatus.CANCELLED
    client.delete("sovits:job:speech-1")
    client.zadd("sovits:forgotten", {"speech-1": 1})
    left, total = queue.jobs(kind)
    assert ([job.id for job in left], total) == (expected[:-1], len(expected) - 1)
