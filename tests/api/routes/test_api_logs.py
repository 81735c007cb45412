"""Logs over HTTP: of a job, a stage, a task; a page at a time, or followed until the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from api_support import Api, eventually

from core.experiments.requests import TaskRequest
from core.jobs.job import Job
from core.jobs.logs import JobLogs, log_topic
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.jobs.roles import PREPROCESSOR
from core.records import NewFileRecord, Records, TaskRecord
from core.redis import connect

logger = logging.getLogger("a.worker")


@pytest.fixture
async def task(api: Api, records: Records) -> TaskRecord:
    await records.files.create(
        NewFileRecord(id="file-a", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )
    return await api.services.experiments.tasks.create(TaskRequest("bob", "file-a", version="nano", language="en"))


@pytest.fixture
def logs(api: Api) -> Iterator[JobLogs]:
    """Yield what a worker writes with; lines are told by hand."""
    handler = JobLogs(api.services.storage)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def worker(api: Api) -> Iterator[Queue]:
    redis = connect(api.settings.redis_url)
    yield Queue(redis, QueueOptions.from_settings(api.settings))
    redis.close()


def job_of(task: TaskRecord, stage: str = "convert") -> Job:
    return Job(f"{task.exp_id}.{stage}.1", PREPROCESSOR, {"stage": stage}, topic=task.id)


async def tell(api: Api, topic: str, message: str, timestamp: float) -> None:
    line = {"timestamp": timestamp, "level": "INFO", "message": message, "job_id": "j", "stage": ""}
    await api.services.queue.publish_event(log_topic(topic), "log", line)


async def follow(client: httpx.AsyncClient, path: str, **headers: str) -> list[tuple[str, str, Any]]:
    """Every (id, kind, message or data) until the stream ends."""
    events = []
    async with client.stream(
        "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "event" in fields:
                data = orjson.loads(fields["data"])
                events.append((fields["id"], fields["event"], data.get("message", data)))
                fields = {}
    return events


async def test_the_log_of_a_job_is_read_a_page_at_a_time(api, task, logs):
    with logs.capture(job_of(task)):
        for number in range(5):
            logger.info("Line %d.", number)
    path = f"/api/v1/jobs/{task.exp_id}.convert.1/logs"

    newest = (await api.client.get(path, params={"limit": 2})).json()
    first = (await api.client.get(path, params={"limit": 2, "offset": 0})).json()

    assert [line["message"] for line in newest["items"]] == ["Line 3.", "Line 4."]
    assert [line["message"] for line in first["items"]] == ["Line 0.", "Line 1."]
    assert (newest["total"], newest["limit"], newest["offset"]) == (5, 2, 3)
    assert first["items"][0]["timestamp"].endswith("Z")
    assert (first["items"][0]["stage"], first["items"][0]["level"]) == ("convert", "INFO")


async def test_a_stage_and_a_task_show_what_their_jobs_logged(api, task, logs):
    with logs.capture(job_of(task)):
        logger.info("Converted.")
    await api.services.experiments.notifier.log(
        await api.services.records.experiments.get(task.exp_id), "convert started."
    )

    stage = (await api.client.get(f"/api/v1/experiments/{task.exp_id}/stages/convert_audio/logs")).json()
    whole = (await api.client.get(f"/api/v1/tasks/{task.id}/logs")).json()

    assert [line["message"] for line in stage["items"]] == ["Converted."]
    assert [line["message"] for line in whole["items"]] == ["Converted.", "convert started."]


async def test_the_log_of_a_job_at_another_host_is_read_from_what_it_published(api, task):
    await tell(api, f"{task.exp_id}.convert.1", "From far away.", 1.0)

    view = (await api.client.get(f"/api/v1/jobs/{task.exp_id}.convert.1/logs")).json()

    assert [line["message"] for line in view["items"]] == ["From far away."]


async def test_a_log_is_followed_from_its_beginning_to_the_end_of_the_job(api, task, logs, worker):
    job_id = f"{task.exp_id}.convert.1"
    with logs.capture(job_of(task)):
        logger.info("So far.")
    lease = worker.claim(PREPROCESSOR, "worker-1")
    follower = asyncio.create_task(follow(api.client, f"/api/v1/jobs/{job_id}/logs/stream"))
    await eventually(lambda: api.services.metrics.watchers.collect()[0].samples[0].value > 0)

    await tell(api, job_id, "And then.", 4e9)
    worker.ack(lease, {})
    events = await asyncio.wait_for(follower, 10)
    rest = await follow(
        api.client, f"/api/v1/jobs/{job_id}/logs", accept="text/event-stream", last_event_id=events[0][0]
    )

    assert [(kind, text) for _, kind, text in events[:2]] == [("log", "So far."), ("log", "And then.")]
    assert (events[2][1], events[2][2]["status"]) == ("completed", "done")
    assert rest[-1][1] == "completed"
    assert "So far." not in [text for _, _, text in rest]


async def test_following_a_task_ends_with_the_task(api, task):
    follower = asyncio.create_task(follow(api.client, f"/api/v1/tasks/{task.id}/logs/stream"))
    await eventually(lambda: api.services.metrics.watchers.collect()[0].samples[0].value > 0)

    await tell(api, task.id, "Working.", 4e9)
    await api.client.delete(f"/api/v1/tasks/{task.id}")
    events = await asyncio.wait_for(follower, 10)

    assert [kind for _, kind, _ in events] == ["log", "cancelled"]


async def test_following_a_run_that_has_ended_reports_all_of_it(api, task, logs):
    with logs.capture(job_of(task)):
        logger.info("Converted.")
    await api.client.delete(f"/api/v1/tasks/{task.id}")

    events = await follow(api.client, f"/api/v1/experiments/{task.exp_id}/stages/convert/logs/stream")

    assert [kind for _, kind, _ in events] == ["log", "cancelled"]


async def test_the_log_of_an_unknown_job_is_not_found(client: httpx.AsyncClient):
    for name in ("job-none", "%20", "..%2F..%2Fetc", "x" * 300, "a%00b"):
        for rest in ("logs", "logs/stream"):
            assert (await client.get(f"/api/v1/jobs/{name}/{rest}")).status_code == 404, name


async def test_the_log_of_an_unknown_task_or_stage_is_not_found(client: httpx.AsyncClient):
    for path in ("tasks/task-none", "experiments/exp-none/stages/asr", "experiments/exp-none/stages/none"):
        assert (await client.get(f"/api/v1/{path}/logs")).status_code == 404
        assert (await client.get(f"/api/v1/{path}/logs/stream")).status_code == 404


async def test_a_page_of_nonsense_is_rejected(client: httpx.AsyncClient):
    response = await client.get("/api/v1/jobs/job-1/logs", params={"limit": 0})

    assert response.status_code == 422
