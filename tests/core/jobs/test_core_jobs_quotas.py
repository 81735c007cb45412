"""Quotas of API keys in the queue, and whose jobs are whose."""

from __future__ import annotations

import time

import pytest
import redis

from core.access import ALL_SCOPES, USER_SCOPES, Caller, Quota, act_as
from core.errors import QuotaExceeded
from core.jobs.job import NewJob
from core.jobs.queue import Queue

ALICE = Caller("alice", USER_SCOPES, "key-a", Quota(jobs_waiting=2, characters_per_day=10))
BOB = Caller("bob", USER_SCOPES, "key-b")
ROOT = Caller("root", ALL_SCOPES, "key-r")


def test_unfinished_jobs_above_the_quota_are_rejected_until_one_ends(queue: Queue) -> None:
    with act_as(ALICE):
        first = queue.enqueue(NewJob("splitter", {}))
        queue.enqueue(NewJob("splitter", {}))
        with pytest.raises(QuotaExceeded, match="2 of your jobs") as rejection:
            queue.enqueue(NewJob("splitter", {}))
        queue.cancel(first.id)
        queue.enqueue(NewJob("splitter", {}))
    with act_as(BOB):
        queue.enqueue(NewJob("splitter", {}))

    assert rejection.value.retry_after >= 1
    assert queue.depths()["splitter"] == 3


def test_jobs_that_are_done_or_dead_free_their_place(queue: Queue) -> None:
    queue.register_worker("w", "splitter", "h", 1)
    for end in ("done", "dead"):
        with act_as(ALICE):
            queue.enqueue(NewJob("splitter", {}, job_id=f"{end}-a"))
            queue.enqueue(NewJob("splitter", {}, job_id=f"{end}-b"))
        for _ in range(2):
            lease = queue.claim("splitter", "w")
            assert lease is not None
            if end == "done":
                queue.ack(lease, {})
            else:
                queue.fail(lease, {"code": "x", "message": "x"}, permanent=True)

    with act_as(ALICE):
        assert queue.enqueue(NewJob("splitter", {})).owner == "alice"


def test_a_group_of_jobs_is_enqueued_whole_or_not_at_all(queue: Queue) -> None:
    with act_as(ALICE):
        queue.enqueue(NewJob("splitter", {}, job_id="kept"))
        with pytest.raises(QuotaExceeded):
            queue.enqueue_many([NewJob("splitter", {}), NewJob("files", {})])

    assert (queue.depths()["splitter"], queue.depths()["files"]) == (1, 0)


def test_an_id_that_exists_costs_nothing_again(queue: Queue) -> None:
    with act_as(ALICE):
        for _ in range(4):
            queue.enqueue(NewJob("splitter", {}, job_id="same", characters=10))


def test_characters_above_the_quota_are_rejected_until_midnight(queue: Queue, client: redis.Redis) -> None:
    with act_as(ALICE):
        queue.enqueue(NewJob("splitter", {}, characters=6))
        with pytest.raises(QuotaExceeded, match="6 characters were synthesized for you today") as rejection:
            queue.enqueue(NewJob("splitter", {}, characters=5))
        queue.enqueue(NewJob("splitter", {}, characters=4))
    seconds_to_midnight = 86_400 - time.time() % 86_400

    assert abs(rejection.value.retry_after - seconds_to_midnight) < 60
    (key,) = client.keys("*characters:*:alice")
    assert client.ttl(key) > seconds_to_midnight


def test_what_a_worker_enqueues_for_an_owner_is_not_held_to_the_quota_and_is_the_owners(queue: Queue) -> None:
    with act_as(Caller.of_job("alice")):
        jobs = queue.enqueue_many(NewJob("synthesizer", {}, characters=100) for _ in range(5))

    assert {job.owner for job in jobs} == {"alice"}
    with act_as(BOB):
        assert queue.job(jobs[0].id) is None
        assert queue.cancel(jobs[0].id) is None


def test_jobs_and_dead_letters_of_others_are_not_listed(queue: Queue) -> None:
    queue.register_worker("w", "splitter", "h", 1)
    for caller in (ALICE, BOB):
        with act_as(caller):
            queue.enqueue(NewJob("splitter", {}, job_id=f"infer-{caller.owner}"))
    queue.enqueue(NewJob("splitter", {}, job_id="infer-shared"))
    while lease := queue.claim("splitter", "w"):
        queue.fail(lease, {"code": "x", "message": "x"}, permanent=True)

    seen = {}
    for caller in (ALICE, BOB, ROOT):
        with act_as(caller):
            jobs, total = queue.jobs("infer")
            letters = [letter.job_id for letter in queue.dead_letters()]
            seen[caller.owner] = ({job.id for job in jobs}, set(letters), total)

    everything = {"infer-alice", "infer-bob", "infer-shared"}
    assert seen["alice"] == (everything - {"infer-bob"}, everything - {"infer-bob"}, 2)
    assert seen["bob"] == (everything - {"infer-alice"}, everything - {"infer-alice"}, 2)
    assert seen["root"] == (everything, everything, 3)


def test_only_who_sees_a_dead_job_replays_or_forgets_it(queue: Queue) -> None:
    with act_as(ALICE):
        job = queue.enqueue(NewJob("splitter", {}))
    queue.cancel(job.id)

    with act_as(BOB):
        assert not queue.replay(job.id, include_cancelled=True)
        assert not queue.forget(job.id)
    with act_as(ROOT):
        assert queue.replay(job.id, include_cancelled=True)
