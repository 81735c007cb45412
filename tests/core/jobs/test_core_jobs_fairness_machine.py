"""Owners take turns: whatever happens to jobs, the queue's order is that of a model that counts no cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from redis_machine import RedisMachine, run_machine
from waiting_model import WaitingModel

from core.errors import ErrorData
from core.jobs.job import JobStatus, Lease, NewJob, WorkerLocation
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions

LIST = "training_tasks"
CONSTRAINTS = ("", "", "", "cuda", "cuda:1")
LISTS = [LIST, f"{LIST}@cuda", f"{LIST}@cuda:1"]
LEAST_ORDERED = 16
DEVICES = {"cuda:0": LISTS[:2], "cuda:1": LISTS, "cpu": LISTS[:1]}
FAILURE: ErrorData = {"code": "x", "message": "No."}

numbers = st.integers(0, 10_000)


class FairnessMachine(RedisMachine):
    """Compares each list with the model after every step, and what comes out at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(self.client, QueueOptions(retry_attempts=100, retry_delay_seconds=1))
        self.model = WaitingModel()
        self.jobs: dict[str, NewJob] = {}
        self.leases: list[Lease] = []
        self.workers = 0

    @rule(
        owner=st.sampled_from(["", "anna", "ben", "cem", "01:anna"]),
        priority=st.sampled_from([5, 5, 5, 1, 10]),
        constraint=st.sampled_from(CONSTRAINTS),
        count=st.sampled_from([1, 1, 2, 3, 40]),
    )
    def enqueue(self, owner: str, priority: int, constraint: str, count: int) -> None:
        new = [
            NewJob("trainer", {}, job_id=f"job-{len(self.jobs) + n}", priority=priority, owner=owner, device=constraint)
            for n in range(count)
        ]
        self.queue.enqueue_many(new)
        for job in new:
            self.jobs[job.job_id] = job
            self.add(job.job_id)

    @rule(count=st.integers(1, 20), device=st.sampled_from(sorted(DEVICES)))
    def claim(self, count: int, device: str) -> None:
        for _ in range(count):
            self.claim_next(device)

    @rule(count=st.integers(1, 20), backwards=st.booleans(), owner=st.sampled_from(["", "anna"]))
    def pop_several_before_any_claims(self, count: int, backwards: bool, owner: str) -> None:
        """As blocking pops do; a new job may come in between."""
        popped: list[tuple[str, str]] = []
        for _ in range(count):
            expected = self.model.order(LIST)[:1]
            worker = self.new_worker()
            job = cast(
                "str | None", self.client.lmove(f"sovits:{LIST}", f"sovits:processing:{worker}", "RIGHT", "LEFT")
            )
            assert job == next(iter(expected), None)
            if job is not None:
                self.model.pop(LIST, job)
                popped.append((worker, job))
        self.enqueue(owner, 5, "", 1)
        for worker, job in reversed(popped) if backwards else popped:
            lease = self.queue.claim("trainer", worker)
            assert lease is not None
            assert lease.job.id == job
            self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(some=st.lists(numbers, min_size=1, max_size=5), how=st.sampled_from(["ack", "release", "rescue", "fail"]))
    def end(self, some: list[int], how: str) -> None:
        for number in some[: len(self.leases)]:
            lease = self.leases.pop(number % len(self.leases))
            if how == "ack":
                assert self.queue.ack(lease, {})
            elif how == "release":
                assert self.queue.release(lease)
                self.add(lease.job.id, to_front=True)
            elif how == "rescue":
                (rescued,) = self.queue.rescue_worker(lease.worker_id)
                if rescued.status is JobStatus.WAITING:
                    self.add(lease.job.id, to_front=True)
            else:
                assert self.queue.fail(lease, FAILURE) is JobStatus.DELAYED
                self.client.zadd("sovits:delayed", {lease.job.id: 1})
                assert self.queue.promote() == 1
                self.add(lease.job.id)

    @precondition(lambda self: self.waiting())
    @rule(some=st.lists(numbers, min_size=1, max_size=8), replay=st.booleans())
    def cancel(self, some: list[int], replay: bool) -> None:
        for number in some:
            waiting = self.waiting()
            if waiting:
                job = waiting[number % len(waiting)]
                assert self.queue.cancel(job) is JobStatus.CANCELLED
                self.model.remove(self.list_of(job), job)
                if replay:
                    assert self.queue.replay(job, include_cancelled=True)
                    self.add(job)

    @precondition(lambda self: self.waiting())
    @rule(number=numbers)
    def wait_for_another(self, number: int) -> None:
        job = self.waiting()[number % len(self.waiting())]
        self.queue.enqueue(NewJob("splitter", {}, job_id=f"before-{job}"))
        assert self.queue.add_dependencies(job, [f"before-{job}"])
        self.model.remove(self.list_of(job), job)
        self.queue.cancel(f"before-{job}")
        self.queue.forget(f"before-{job}")
        self.add(job)

    @invariant()
    def lists_are_complete_and_begin_in_order(self) -> None:
        for key in LISTS:
            order = self.model.order(key)
            in_redis = self.client.lrange(f"sovits:{key}", 0, -1)[::-1]
            ordered = int(self.client.hget("sovits:ordered", key) or 0)
            assert sorted(in_redis) == sorted(order)
            assert ordered >= min(len(order), LEAST_ORDERED)
            assert in_redis[:ordered] == order[:ordered]
            assert self.client.zrange(f"sovits:places:{key}", 0, -1) == in_redis  # nothing is left to repair

    def teardown(self) -> None:
        """Everything that waits comes out in the model's order, and nothing is left of the index."""
        while self.waiting():
            self.claim_next("cuda:1")
        left = {*self.client.scan_iter("sovits:waiting:*"), *self.client.scan_iter("sovits:turns:*")}
        assert {key for key in left if LIST in key} == set()
        assert self.client.hkeys("sovits:ordered") == []

    def claim_next(self, device: str) -> None:
        expected = self.model.next_jobs(DEVICES[device])
        lease = self.queue.claim("trainer", self.new_worker(), location=WorkerLocation("host", device, limit=10**6))
        if lease is None:
            assert expected == set()
            return
        key = self.list_of(lease.job.id)
        assert (key, lease.job.id) in expected
        self.model.pop(key, lease.job.id)
        self.leases.append(lease)

    def add(self, job: str, *, to_front: bool = False) -> None:
        self.model.add(self.list_of(job), job, self.jobs[job].priority, self.jobs[job].owner, to_front=to_front)

    def list_of(self, job: str) -> str:
        constraint = self.jobs[job].device
        return f"{LIST}@{constraint}" if constraint else LIST

    def waiting(self) -> Sequence[str]:
        return [job for key in LISTS for job in self.model.order(key)]

    def new_worker(self) -> str:
        self.workers += 1
        return f"worker-{self.workers}"


def test_owners_take_turns(client: redis.Redis):
    run_machine(FairnessMachine, client, examples=25, steps=30)


@pytest.mark.slow
def test_owners_take_turns_for_long(client: redis.Redis):
    run_machine(FairnessMachine, client, examples=100, steps=60)
