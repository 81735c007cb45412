"""Forgetting a job before its time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.jobs.job import Lease, NewJob
from core.jobs.queue import Queue


def test_a_job_that_is_done_is_forgotten_with_its_history(queue: Queue, take: Callable[..., Lease]) -> None:
    queue.enqueue(NewJob("splitter", {}, job_id="infer-1"))
    queue.ack(take(role="splitter"), {"audio": "x"})
    kept = queue.enqueue(NewJob("splitter", {}, job_id="infer-2"))

    forgotten = queue.forget("infer-1")

    assert forgotten
    assert queue.job("infer-1") is None
    assert queue.event_history("infer-1") == []
    assert [job.id for job in queue.jobs("infer")[0]] == [kept.id]
    assert queue.counters()["done"] == 1, "what happened is counted"


@pytest.mark.parametrize("state", ["waiting", "processing", "dead", "unknown"])
def test_a_job_in_another_state_is_not_forgotten(queue: Queue, take: Callable[..., Lease], state: str) -> None:
    if state != "unknown":
        queue.enqueue(NewJob("splitter", {}, job_id="infer-1"))
    if state in ("processing", "dead"):
        lease = take(role="splitter")
        if state == "dead":
            queue.fail(lease, {"code": "x", "message": "No."}, permanent=True)

    assert not queue.forget("infer-1")

    assert (queue.job("infer-1") is None) == (state == "unknown")
