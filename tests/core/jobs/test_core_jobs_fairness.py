"""One owner's many jobs neither delay another's first nor make a call of the queue dearer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from core.jobs.job import JobStatus, Lease, NewJob
from core.jobs.queue import Queue

Take = Callable[..., Lease]

SEARCHES = ("linsert", "lpos")
"""Commands that search a list; `LREM` is for the short list of a worker only."""


def fill(queue: Queue, count: int, owners: int = 1) -> None:
    queue.enqueue_many(
        NewJob("synthesizer", {}, job_id=f"many-{n}", owner=f"many-{n % owners}", priority=1 + n % 10)
        for n in range(count)
    )


def test_a_thousand_jobs_of_one_owner_delay_another_by_one(queue: Queue, take: Take):
    queue.enqueue_many([NewJob("synthesizer", {}, owner="anna") for _ in range(1000)])
    take("worker-1")
    queue.enqueue_many([NewJob("synthesizer", {}, job_id=f"ben-{n}", owner="ben") for n in range(2)])
    queue.enqueue(NewJob("synthesizer", {}, owner="cem"))

    owners = [take(f"worker-{n}").job.owner for n in range(2, 9)]

    assert owners == ["anna", "ben", "cem", "anna", "ben", "anna", "anna"]


def test_a_cancelled_job_costs_its_owner_no_turn(queue: Queue, take: Take):
    queue.enqueue_many([NewJob("synthesizer", {}, job_id=f"anna-{n}", owner="anna") for n in range(300)])
    queue.enqueue_many([NewJob("synthesizer", {}, owner="ben") for _ in range(300)])
    for number in range(299):
        assert queue.cancel(f"anna-{number}") is JobStatus.CANCELLED

    assert take().job.id == "anna-299"


def test_jobs_of_an_older_version_run_in_their_order_as_one_owner(queue: Queue, client: redis.Redis, take: Take):
    for number in range(50):
        client.hset(f"sovits:job:old-{number}", items=older_job(priority=5))
        client.lpush("sovits:worker_tasks", f"old-{number}")
    queue.enqueue(NewJob("synthesizer", {}, job_id="new", owner="anna"))

    claimed = [take(f"worker-{n}").job.id for n in range(51)]

    assert claimed == ["old-0", "new", *(f"old-{n}" for n in range(1, 50))]


def test_an_older_host_on_the_same_server_may_change_the_list(queue: Queue, client: redis.Redis, take: Take):
    fill(queue, 100)
    client.hset("sovits:job:old", items=older_job(priority=10))
    client.linsert("sovits:worker_tasks", "BEFORE", "many-50", "old")
    claimed = [take(f"worker-{n}").job.id for n in range(50)]
    client.lrem("sovits:worker_tasks", 1, "many-60")
    claimed += [take(f"worker-{n}").job.id for n in range(50, 100)]

    assert sorted(claimed) == sorted({"old", *(f"many-{n}" for n in range(100))} - {"many-60"})
    assert claimed.index("old") == 1


def older_job(priority: int) -> list[str | bytes | int | float | bytearray | memoryview[int]]:
    """Return the fields and values of a waiting job's hash before jobs had owners."""
    fields = {"role": "synthesizer", "list": "worker_tasks", "payload": "{}", "state": "waiting", "created_at": "1.0"}
    return [part for field in (*fields.items(), ("priority", str(priority))) for part in field]


def count_commands(queue: Queue, client: redis.Redis) -> tuple[int, set[str]]:
    """Return how many commands ten enqueues, cancels and claims take, and which."""
    client.config_resetstat()
    for number in range(10):
        queue.enqueue(NewJob("synthesizer", {}, job_id=f"new-{number}", owner="anna", priority=1 + number))
        queue.enqueue(NewJob("synthesizer", {}, job_id=f"more-{number}", owner="many-0", priority=5))
        queue.cancel(f"many-{500 + number}")
        queue.cancel(f"new-{number}")
        lease = queue.claim("synthesizer", "worker-1")
        assert lease is not None
        queue.release(lease)
    stats = client.info("commandstats")
    return sum(stat["calls"] for stat in stats.values()), {name.removeprefix("cmdstat_") for name in stats}


@pytest.mark.slow
@pytest.mark.parametrize("owners", [1, 50])
def test_a_call_costs_as_many_commands_with_many_jobs_as_with_few(queue: Queue, client: redis.Redis, owners: int):
    fill(queue, 1_000, owners)
    few, _ = count_commands(queue, client)
    client.flushall()
    fill(queue, 30_000, owners)

    many, names = count_commands(queue, client)

    assert many <= 1.2 * few
    assert not names & set(SEARCHES)
