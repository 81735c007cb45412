"""Jobs whose results another one puts together: they are forgotten soon after that one has ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from core.errors import ErrorData
from core.jobs.job import Lease, NewJob
from core.jobs.queue import Queue

DAY = 86_400
PART_SECONDS = 300
PARTS = ("infer-1.split.0", "infer-1.split.1")

Take = Callable[..., Lease]


@pytest.fixture
def whole(queue: Queue) -> str:
    """Return a job that waits for two parts."""
    for part in PARTS:
        queue.enqueue(NewJob("synthesizer", {}, job_id=part, topic="infer-1", part_of="infer-1"))
    return queue.enqueue(NewJob("files", {}, job_id="infer-1", depends_on=PARTS)).id


def life(client: redis.Redis, key: str) -> int:
    """Return for how many seconds a key is kept; 0 when there is none."""
    return max(0, int(client.ttl(f"sovits:{key}")))


def test_parts_are_kept_until_the_whole_is_done_and_five_minutes_more(
    queue: Queue, client: redis.Redis, whole: str, take: Take
):
    for _ in PARTS:
        queue.ack(take(role="synthesizer"), {"audio": "x"})
    while_it_waits = [life(client, f"job:{part}") for part in PARTS]

    queue.ack(take(role="files"), {"audio": "y"})

    assert min(while_it_waits) > DAY - 60
    assert all(0 < life(client, f"job:{part}") <= PART_SECONDS for part in PARTS)
    assert life(client, f"job:{whole}") > DAY - 60
    assert not client.exists("sovits:parts:infer-1")
    forgotten_at = [client.zscore("sovits:forgotten", name) for name in (*PARTS, whole)]
    assert forgotten_at[0] is not None
    assert forgotten_at[2] is not None
    assert forgotten_at[2] - forgotten_at[0] > DAY - 2 * PART_SECONDS


def test_the_history_of_a_part_ends_a_minute_after_it(queue: Queue, client: redis.Redis, whole: str, take: Take):
    lease = take(role="synthesizer")
    queue.progress(lease, {"progress": 0.5})
    queue.ack(lease, {"audio": "x"})

    assert [event.kind for event in queue.event_history(lease.job.id)] == ["progress", "completed"]
    assert 0 < life(client, f"events:{lease.job.id}") <= 60


def test_a_part_that_ends_after_the_whole_is_kept_for_five_minutes(
    queue: Queue, client: redis.Redis, whole: str, take: Take
):
    lease = take(role="synthesizer")
    queue.cancel(whole)
    queue.cancel(PARTS[1])
    queue.cancel(PARTS[0])
    queue.confirm_cancel(lease)

    assert all(0 < life(client, f"job:{part}") <= PART_SECONDS for part in PARTS)


@pytest.mark.parametrize("callers_mistake", [True, False])
def test_parts_of_a_whole_that_failed_stay_for_its_replay(
    queue: Queue, client: redis.Redis, whole: str, take: Take, callers_mistake: bool
):
    for _ in PARTS:
        queue.ack(take(role="synthesizer"), {"audio": "x"})
    failure: ErrorData = {"code": "x", "message": "No."}
    queue.fail(take(role="files"), failure, permanent=True, callers_mistake=callers_mistake)
    kept = [life(client, f"job:{part}") for part in PARTS]
    queue.replay(whole, depends_on=PARTS)

    queue.ack(take(role="files"), {"audio": "y"})

    assert min(kept) > DAY - 60
    assert all(0 < life(client, f"job:{part}") <= PART_SECONDS for part in PARTS)
