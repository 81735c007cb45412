"""The service as a whole, and what is said of a recording and of a task's remaining time."""

from __future__ import annotations

from dataclasses import replace

import httpx
import orjson
from api_support import Api, tone
from task_records import new_task_record

from api.routes.tasks import remaining_seconds
from core.records import TaskStatus


async def test_the_status_has_health_queues_and_resources(client: httpx.AsyncClient) -> None:
    status = (await client.get("/api/v1/service/status")).json()

    assert status["health"]["checks"]["queue"] == "ok"
    assert status["now"]["dead_letters"] == 0
    assert status["now"]["waiting"]["splitter"] == 0
    assert "cpu" in status["resources"]["limits"]


async def test_the_history_is_empty_where_no_supervisor_took_samples(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/service/history")).json() == {"interval_seconds": 10.0, "samples": []}


async def test_the_stream_says_how_the_service_is_again_and_again(api: Api) -> None:
    events = []
    async with api.client.stream("GET", "/api/v1/service/stream") as response:
        async for line in response.aiter_lines():
            if line.startswith("data:"):
                events.append(orjson.loads(line[5:]))
            if len(events) == 2:
                break

    assert events[1]["now"]["at"] > events[0]["now"]["at"]


async def test_a_recording_is_measured(client: httpx.AsyncClient) -> None:
    uploaded = (await client.post("/api/v1/files", files={"file": ("a.wav", tone(2.0))})).json()
    analysis = (await client.get(f"/api/v1/files/{uploaded['id']}/analysis")).json()

    assert analysis["duration_seconds"] == 2.0
    assert analysis["peak_db"] == -6.0
    assert "short" in analysis["problems"]


RUNNING = new_task_record(
    1, status=TaskStatus.RUNNING, current_stage="asr", progress=0.5, overall_progress=0.25, started_at=1000.0
)


def test_the_remaining_time_follows_from_what_is_done() -> None:
    assert remaining_seconds(RUNNING, 1100.0) == 300.0
    assert remaining_seconds(replace(RUNNING, overall_progress=0.01), 1100.0) is None
    assert remaining_seconds(replace(RUNNING, status=TaskStatus.COMPLETED), 1100.0) is None
