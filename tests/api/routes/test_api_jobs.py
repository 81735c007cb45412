"""Jobs and dead letters."""

from __future__ import annotations

import httpx

from core.jobs.job import NewJob
from core.jobs.queue import AsyncQueue, Queue
from core.jobs.queue_options import QueueOptions
from core.redis import connect
from core.settings import Settings


async def test_a_job_is_shown_and_cancelled(client: httpx.AsyncClient, queue: AsyncQueue) -> None:
    job = await queue.enqueue(NewJob("splitter", {"text": "Hello."}))

    view = (await client.get(f"/api/v1/jobs/{job.id}")).json()
    cancelled = (await client.delete(f"/api/v1/jobs/{job.id}")).json()
    unknown = [await client.get("/api/v1/jobs/job-none"), await client.delete("/api/v1/jobs/job-none")]

    assert (view["status"], view["role"], view["payload"]) == ("waiting", "splitter", {"text": "Hello."})
    assert view["created_at"].endswith("Z")
    assert cancelled["status"] == "cancelled"
    assert [response.status_code for response in unknown] == [404, 404]


async def test_a_dead_letter_is_listed_and_replayed_once(
    client: httpx.AsyncClient, queue: AsyncQueue, settings: Settings
) -> None:
    job = await queue.enqueue(NewJob("splitter", {"text": "Hello."}))
    kill(settings)

    letters = (await client.get("/api/v1/dead-letters")).json()
    replayed = await client.post(f"/api/v1/dead-letters/{job.id}/replay")
    again = await client.post(f"/api/v1/dead-letters/{job.id}/replay")
    unknown = await client.post("/api/v1/dead-letters/job-none/replay")

    assert letters["total"] == 1
    assert letters["items"][0]["job_id"] == job.id
    assert letters["items"][0]["error"]["message"] == "No luck."
    assert [entry["at"] for entry in letters["items"][0]["history"]] == [letters["items"][0]["died_at"]]
    assert letters["items"][0]["died_at"].endswith("Z")
    assert (replayed.status_code, replayed.json()["status"]) == (200, "waiting")
    assert (again.status_code, unknown.status_code) == (409, 404)


def kill(settings: Settings) -> None:
    """Fail the next splitter job for good."""
    with connect(settings.redis_url) as redis:
        queue = Queue(redis, QueueOptions.from_settings(settings))
        lease = queue.claim("splitter", "splitter-test-1-killer")
        assert lease is not None
        queue.fail(lease, {"code": "internal_error", "message": "No luck.", "hint": ""}, permanent=True)
