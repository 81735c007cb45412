"""All transitions in any order, by the well-behaved, the late and the dead: no job is lost and none is there twice."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import cast

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from redis_machine import RedisMachine, run_machine

from core.errors import LeaseLost
from core.jobs.devices import ANYWHERE
from core.jobs.job import JobStatus, Lease, LeaseStatus, NewJob, WorkerLocation
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions

ROLES = {"synthesizer": "worker_tasks", "trainer": "training_tasks"}
WORKERS = ("worker-1", "worker-2", "worker-3")
KINDS = {"synthesizer": "inference", "trainer": "training"}
DEVICES = {"worker-1": "cuda:0", "worker-2": "cuda:0", "worker-3": "cpu"}
CONSTRAINTS = ("", "", "", ANYWHERE, "cuda", "cuda:0", "cuda:0-1", "cuda:10", "cpu")
LIMIT = 1
"""Jobs of a kind on a device, until the machine changes that."""

roles = st.sampled_from(sorted(ROLES))
workers = st.sampled_from(WORKERS)
numbers = st.integers(0, 1_000)
constraints = st.sampled_from(CONSTRAINTS)


def counts(role: str, constraint: str) -> bool:
    """Return whether a job counts towards a limit: every training, and an inference of the model service."""
    return role == "trainer" or constraint != ""


def meets_constraint(constraint: str, device: str) -> bool:
    """Return the same rule as the queue's, put differently."""
    number = device.removeprefix("cuda:")
    return constraint in ("", ANYWHERE, device) or (
        device != "cpu" and (constraint == "cuda" or number in constraint[5:].split("-"))
    )


class QueueMachine(RedisMachine):
    """Looks at the raw structures after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(self.client, QueueOptions(retry_attempts=2, retry_delay_seconds=1))
        self.submitted: list[str] = []
        self.leases: list[Lease] = []
        """Every lease there ever was, most of them lost by now."""
        self.limits: dict[tuple[str, str], int] = {}
        self.counts_as: dict[str, str] = {}
        """Job → the kind of the limit that its latest claim counts towards, or nothing."""
        self.acked: dict[str, int] = {}
        """Job → token of the claim whose result counted."""

    @initialize(priorities=st.lists(st.integers(1, 10), min_size=6, max_size=10))
    def begin(self, priorities: list[int]) -> None:
        self.enqueue("synthesizer", priorities, 0, "")
        self.enqueue("trainer", priorities[:2], 50, "")
        self.enqueue("trainer", priorities[:3], 0, "cuda")
        self.everyone_claims()

    # People

    @rule(
        role=roles,
        priorities=st.lists(st.integers(1, 10), min_size=1, max_size=4),
        delay=st.sampled_from([0, 0, 50]),
        constraint=constraints,
    )
    def enqueue(self, role: str, priorities: list[int], delay: float, constraint: str) -> None:
        new = []
        for priority in priorities:
            name = f"job-{len(self.submitted)}"
            self.submitted.append(name)
            new.append(
                NewJob(
                    role,
                    {"n": 1},
                    job_id=name,
                    priority=priority,
                    topic="",
                    idempotency_key=name,
                    delay_seconds=delay,
                    device=constraint,
                )
            )
        assert [job.id for job in self.queue.enqueue_many(new)] == [job.job_id for job in new]

    @precondition(lambda self: self.submitted)
    @rule(number=numbers, by_key=st.booleans())
    def enqueue_again(self, number: int, by_key: bool) -> None:
        name = self.submitted[number % len(self.submitted)]
        new = NewJob("trainer", {}, idempotency_key=name) if by_key else NewJob("trainer", {}, job_id=name)
        job = self.queue.enqueue(new)
        assert job.id == name

    @precondition(lambda self: self.submitted)
    @rule(number=numbers)
    def cancel(self, number: int) -> None:
        name = self.submitted[number % len(self.submitted)]
        before = self.status(name)
        after = self.queue.cancel(name)
        expected = {JobStatus.WAITING: JobStatus.CANCELLED, JobStatus.DELAYED: JobStatus.CANCELLED}
        assert after is expected.get(before, before)

    @precondition(lambda self: self.leases)
    @rule(number=numbers)
    def cancel_in_the_middle(self, number: int) -> None:
        lease = self.lease(number)
        if self.holds(lease):
            assert self.queue.cancel(lease.job.id) is JobStatus.PROCESSING
            assert self.queue.renew_lease(lease) is LeaseStatus.CANCEL

    @precondition(lambda self: self.submitted)
    @rule(number=numbers)
    def replay_anything(self, number: int) -> None:
        name = self.submitted[number % len(self.submitted)]
        was_dead = self.status(name) is JobStatus.DEAD
        assert self.queue.replay(name) is was_dead

    @rule()
    def replay_the_dead(self) -> None:
        for letter in self.queue.dead_letters():
            assert self.queue.replay(letter.job_id)
            assert not self.queue.replay(letter.job_id)

    @rule(
        kind=st.sampled_from(sorted(KINDS.values())),
        device=st.sampled_from(["cuda:0", "cuda", "cpu"]),
        most=st.integers(0, 3),
    )
    def change_a_limit(self, kind: str, device: str, most: int) -> None:
        self.limits[kind, device] = most
        self.client.hset("sovits:limits", f"{kind} {device}", most)

    # Workers, alive, late or long dead

    @rule(worker=workers, first=roles)
    def claim(self, worker: str, first: str) -> None:
        for role in (first, *ROLES):
            lease = self.claim_there(role, worker)
            if lease is not None:
                assert self.queue.renew_lease(lease) is not LeaseStatus.LOST
                self.leases.append(lease)
                return

    def claim_there(self, role: str, worker: str) -> Lease | None:
        """Claim a job that fits the worker's device and the limit there; there is a lease exactly when one fits."""
        fitting = self.fitting(role, worker)
        lease = self.queue.claim(role, worker, location=WorkerLocation("host", DEVICES[worker], KINDS[role], LIMIT))
        assert (lease is not None) is bool(fitting)
        if lease is not None:
            assert lease.job.id in fitting
            self.counts_as[lease.job.id] = KINDS[role] if counts(role, lease.job.device) else ""
        return lease

    def fitting(self, role: str, worker: str) -> set[str]:
        """Return the jobs of which a claim may get one: what the worker holds already, else all that wait and fit."""
        room = self.has_room(role, worker)
        held = self.held_by(worker)[::-1]
        for name, (state, owner, cancel) in zip(held, self.fields(held, "state", "worker", "cancel"), strict=True):
            if state == JobStatus.PROCESSING and owner == worker and not cancel:
                return {name}
            if state == JobStatus.WAITING:  # it was popped: when it does not fit, it goes back, and nothing is claimed
                return {name} if room or not counts(role, self.constraint(name)) else set()
        waiting = [name for key, names in self.lists().items() if key.startswith(ROLES[role]) for name in names]
        constraints = {name: self.constraint(name) for name in waiting}
        return {
            name
            for name, constraint in constraints.items()
            if meets_constraint(constraint, DEVICES[worker]) and (room or not counts(role, constraint))
        }

    def has_room(self, role: str, worker: str) -> bool:
        """Return whether the other workers of the device run fewer jobs that count than its limit says."""
        device, kind = DEVICES[worker], KINDS[role]
        limit = self.limits.get((kind, device), self.limits.get((kind, device.partition(":")[0]), LIMIT))
        others = [other for other in WORKERS if other != worker and DEVICES[other] == device]
        return sum(self.runs(kind, other) for other in others) < limit

    def runs(self, kind: str, worker: str) -> bool:
        """Return whether a worker runs a job that counts towards the limit of the kind."""
        return any(
            self.status(name) is JobStatus.PROCESSING and self.counts_as[name] == kind for name in self.held_by(worker)
        )

    @rule()
    def everyone_claims(self) -> None:
        for worker in WORKERS:
            self.claim(worker, "synthesizer")

    @rule(worker=workers, role=roles, constraint=constraints)
    def die_between_pop_and_claim(self, worker: str, role: str, constraint: str) -> None:
        """Pop as workers do: one that is dedicated to its device from the list of that constraint."""
        key = f"{ROLES[role]}@{constraint}" if constraint == DEVICES[worker] else ROLES[role]
        self.client.lmove(f"sovits:{key}", f"sovits:processing:{worker}", "RIGHT", "LEFT")
        self.client.zadd("sovits:workers", {worker: 2e9})

    @precondition(lambda self: self.leases)
    @rule(number=numbers)
    def ack(self, number: int) -> None:
        lease = self.lease(number)
        held = self.holds(lease)
        acked = self.queue.ack(lease, {"token": lease.token})
        assert acked is (held or self.acked.get(lease.job.id) == lease.token)
        assert self.queue.ack(lease, {"token": lease.token}) is acked
        if held:
            assert lease.job.id not in self.acked
            self.acked[lease.job.id] = lease.token

    @precondition(lambda self: self.leases)
    @rule(number=numbers, permanent=st.booleans())
    def fail(self, number: int, permanent: bool) -> None:
        lease = self.lease(number)
        held, attempts = self.holds(lease), self.attempts(lease.job.id)
        if not held:
            self.fail_again(lease, attempts)
            return
        status = self.queue.fail(lease, {"code": "x", "message": "No."}, permanent=permanent)
        assert self.status(lease.job.id) is status
        assert self.queue.fail(lease, {"code": "x", "message": "It failed."}, permanent=permanent) is status
        assert self.attempts(lease.job.id) == attempts + 1

    def fail_again(self, lease: Lease, attempts: int) -> None:
        """Fail a lease that is lost or has failed already: either way nothing changes."""
        before = self.status(lease.job.id)
        with suppress(LeaseLost):
            self.queue.fail(lease, {"code": "late", "message": "It failed."})
        assert (self.status(lease.job.id), self.attempts(lease.job.id)) == (before, attempts)

    @precondition(lambda self: self.leases)
    @rule(number=numbers)
    def release(self, number: int) -> None:
        lease = self.lease(number)
        held, counted = self.holds(lease), self.counted(lease.job.id)
        released = self.queue.release(lease)
        assert released or not held
        assert self.queue.release(lease) is released
        assert self.counted(lease.job.id) == counted

    @precondition(lambda self: self.leases)
    @rule(number=numbers)
    def beat_or_tell(self, number: int) -> None:
        lease = self.lease(number)
        held = self.holds(lease)
        assert (self.queue.renew_lease(lease) is not LeaseStatus.LOST) is held
        assert (self.queue.progress(lease, {"progress": 0.5}) is not LeaseStatus.LOST) is held

    @precondition(lambda self: self.leases)
    @rule(number=numbers)
    def confirm_cancel(self, number: int) -> None:
        lease = self.lease(number)
        requested = self.holds(lease) and self.queue.renew_lease(lease) is LeaseStatus.CANCEL
        confirmed = self.queue.confirm_cancel(lease)
        assert confirmed or not requested
        assert not confirmed or self.status(lease.job.id) is JobStatus.CANCELLED

    @rule(worker=workers)
    def reconcile(self, worker: str) -> None:
        self.queue.reconcile(worker)
        assert self.client.llen(f"sovits:processing:{worker}") == 0

    # Supervisors

    @rule(worker=workers)
    def rescue_dead_worker(self, worker: str) -> None:
        self.queue.rescue_worker(worker)
        assert self.client.llen(f"sovits:processing:{worker}") == 0
        assert self.queue.rescue_worker(worker) == []

    @rule(some=st.sets(numbers, max_size=3))
    def let_leases_run_out_and_reap(self, some: set[int]) -> None:
        held = self.members("sovits:leases")
        late = {held[number % len(held)] for number in some} if held else set()
        for name in late:
            self.client.zadd("sovits:leases", {name: 1})
        assert {rescued.job_id for rescued in self.queue.reap()} == late
        assert self.queue.reap() == []

    @rule()
    def reap_what_was_never_claimed(self) -> None:
        self.queue.reap()
        for pair in self.client.hkeys("sovits:unclaimed"):
            self.client.hset("sovits:unclaimed", pair, 1)
        self.queue.reap()
        for worker in WORKERS:
            for name in self.held_by(worker):
                assert self.status(name) is JobStatus.PROCESSING

    @rule()
    def promote_what_is_due(self) -> None:
        due = self.members("sovits:delayed")
        for name in due:
            self.client.zadd("sovits:delayed", {name: 1})
        assert self.queue.promote() == len(due)
        assert self.queue.promote() == 0

    @rule()
    def forget_scripts(self) -> None:
        self.client.script_flush()

    # What must hold after every step

    @invariant()
    def every_job_is_in_exactly_one_place(self) -> None:
        processing = self.processing()
        listed = [name for names in self.lists().values() for name in names]
        held = [name for names in processing.values() for name in names]
        delayed = self.members("sovits:delayed")
        leases = self.members("sovits:leases")
        letters = [letter.job_id for letter in self.queue.dead_letters()]

        statuses = self.statuses()
        by_status: dict[JobStatus, list[str]] = {status: [] for status in JobStatus}
        for name, status in statuses.items():
            by_status[status].append(name)

        waiting = Counter(listed) + Counter(name for name in set(held) if statuses[name] is JobStatus.WAITING)
        assert waiting == Counter(by_status[JobStatus.WAITING])
        assert sorted(leases) == sorted(by_status[JobStatus.PROCESSING])
        assert sorted(delayed) == sorted(by_status[JobStatus.DELAYED])
        assert sorted(letters) == sorted(by_status[JobStatus.DEAD])
        assert len(held) == len(set(held))
        for name, (worker,) in zip(leases, self.fields(leases, "worker"), strict=True):
            assert name in processing[str(worker)]

    @invariant()
    def the_numbers_add_up(self) -> None:
        depths, counters = self.queue.depths(), self.queue.counters()
        statuses = self.statuses()
        unclaimed = sum(statuses[name] is JobStatus.WAITING for names in self.processing().values() for name in names)
        total = sum(depths.values()) + unclaimed + counters.get("done", 0) + counters.get("cancelled", 0)
        assert total == counters.get("submitted", 0) == len(self.submitted)
        assert counters.get("done", 0) == len(self.acked)

    @invariant()
    def every_list_is_in_order(self) -> None:
        for key, names in self.lists().items():
            constraint = key.partition("@")[2]
            jobs = self.fields(names, "device", "priority")
            assert {device or "" for device, _ in jobs} <= {constraint}
            priorities = [int(priority or 0) for _, priority in jobs]
            assert priorities == sorted(priorities)

    def members(self, key: str) -> list[str]:
        return cast(list[str], self.client.zrange(key, 0, -1))

    def lists(self) -> dict[str, list[str]]:
        """Everything that waits, list by list."""
        keys = [
            f"{key}{constraint and '@'}{constraint}"
            for key in ROLES.values()
            for constraint in dict.fromkeys(CONSTRAINTS)
        ]
        pipe = self.client.pipeline(transaction=False)
        for key in keys:
            pipe.lrange(f"sovits:{key}", 0, -1)
        return dict(zip(keys, pipe.execute(), strict=True))

    def processing(self) -> dict[str, list[str]]:
        """Worker → what it holds."""
        pipe = self.client.pipeline(transaction=False)
        for worker in WORKERS:
            pipe.lrange(f"sovits:processing:{worker}", 0, -1)
        return dict(zip(WORKERS, pipe.execute(), strict=True))

    def statuses(self) -> dict[str, JobStatus]:
        """Of every job there ever was."""
        states = self.fields(self.submitted, "state")
        return {name: JobStatus(str(state)) for name, (state,) in zip(self.submitted, states, strict=True)}

    def fields(self, jobs: list[str], *names: str) -> list[list[str | None]]:
        """Return the same fields of many jobs, requested at once: most of this test's time is waiting for replies."""
        pipe = self.client.pipeline(transaction=False)
        for job in jobs:
            pipe.hmget(f"sovits:job:{job}", *names)
        return list(pipe.execute())

    def held_by(self, worker: str) -> list[str]:
        return cast(list[str], self.client.lrange(f"sovits:processing:{worker}", 0, -1))

    def constraint(self, name: str) -> str:
        return str(self.client.hget(f"sovits:job:{name}", "device") or "")

    def lease(self, number: int) -> Lease:
        """One that is still held or, in every third case, any there ever was."""
        jobs = self.fields([lease.job.id for lease in self.leases], "state", "token", "worker")
        held = [
            lease
            for lease, job in zip(self.leases, jobs, strict=True)
            if job == [JobStatus.PROCESSING, str(lease.token), lease.worker_id]
        ]
        among = held if held and number % 3 else self.leases
        return among[number // 3 % len(among)]

    def holds(self, lease: Lease) -> bool:
        job = self.queue.job(lease.job.id)
        assert job is not None
        return job.status is JobStatus.PROCESSING and (job.token, job.worker) == (lease.token, lease.worker_id)

    def status(self, name: str) -> JobStatus:
        return JobStatus(str(self.client.hget(f"sovits:job:{name}", "state")))

    def attempts(self, name: str) -> int:
        return int(self.client.hget(f"sovits:job:{name}", "attempts") or 0)

    def counted(self, name: str) -> list[str | None]:
        return cast(list[str | None], self.client.hmget(f"sovits:job:{name}", "attempts", "rescues"))


def test_jobs_are_conserved(client: redis.Redis):
    run_machine(QueueMachine, client, examples=15, steps=25)


@pytest.mark.slow
def test_jobs_are_conserved_for_long(client: redis.Redis):
    run_machine(QueueMachine, client, examples=100, steps=50)
