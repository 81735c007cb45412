"""Resources over HTTP: what runs where, limits that change at run time, and when things begin."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from core.jobs.job import JobStatus, NewJob, WorkerLocation
from core.jobs.loaded_models import LoadedModel, LoadedModelReports
from core.jobs.queue import AsyncQueue
from core.limits import GpuInfo, HostInfo, LimitService
from core.records import NewFileRecord, Records, VoiceRecord
from core.settings import Settings

CPU = WorkerLocation("host", "cpu", "training", limit=2)


@pytest.fixture
async def recording(records: Records) -> str:
    """Return the id of a file that nobody will open."""
    file = await records.files.create(
        NewFileRecord(id="file-a", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )
    return file.id


async def begin(client: httpx.AsyncClient, recording: str, **more: Any) -> httpx.Response:
    return await client.post("/api/v1/tasks", json={"exp_name": "bob", "audio_file_id": recording, **more})


async def test_resources_show_what_runs_where_and_how_much_may(
    client: httpx.AsyncClient, queue: AsyncQueue, settings: Settings, records: Records
) -> None:
    gpu = GpuInfo("there", 0, "cuda:0", "Test", "GPU-1", 24_000, 8_000)
    await LimitService(settings, records, queue).report_host(HostInfo("there", 8, 32_000, [gpu]))
    await queue.register_worker("trainer-1", "trainer", "there", 1, "cuda:0")
    await queue.enqueue(NewJob("trainer", {}, job_id="training-1"))
    await queue.claim("trainer", "trainer-1", location=WorkerLocation("there", "cuda:0", "training"))

    view = (await client.get("/api/v1/resources")).json()

    assert view["device_usage"]["cuda:0"] == {"training": 1, "inference": 0}
    assert view["limits"]["cuda:0"] == {"training": 1, "inference": 3}
    assert view["limits"]["cpu"] == {"training": 2, "inference": 4}
    assert [(item["job_id"], item["kind"], item["device"]) for item in view["active_tasks"]] == [
        ("training-1", "training", "cuda:0")
    ]
    assert view["hosts"] == [{"host": "there", "cores": 8, "memory_mb": 32_000, "gpus": 1}]
    assert view["gpu_info"] == (await client.get("/api/v1/resources/gpu")).json()["gpus"]
    assert view["gpu_info"][0]["free_mb"] == 8_000


async def test_limits_change_at_run_time(client: httpx.AsyncClient, queue: AsyncQueue) -> None:
    await queue.enqueue(NewJob("trainer", {}, job_id="a"))

    response = await client.post("/api/v1/resources/config", json={"max_concurrent": {"cpu": {"training": 0}}})

    assert response.status_code == 200
    assert response.json()["max_concurrent"]["cpu"] == {"training": 0, "inference": 4}
    assert (await client.get("/api/v1/resources")).json()["limits"]["cpu"]["training"] == 0
    assert await queue.claim("trainer", "worker-1", location=CPU) is None

    await client.post("/api/v1/resources/config", json={"max_concurrent": {"cpu": {"training": None}}})
    assert await queue.claim("trainer", "worker-1", location=CPU) is not None


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"tpu": {"training": 1}},
        {"cpu": {"training": -1}},
        {"cpu": {"training": 1.5}},
        {"cpu": {"talking": 1}},
        {"cpu": 3},
    ],
)
async def test_limits_that_cannot_be_are_rejected(client: httpx.AsyncClient, limits: Any) -> None:
    response = await client.post("/api/v1/resources/config", json={"max_concurrent": limits})

    assert response.status_code == 422


async def test_a_device_that_no_host_has_is_rejected_when_it_is_asked_for(
    client: httpx.AsyncClient, queue: AsyncQueue, recording: str
) -> None:
    await queue.register_worker("trainer-1", "trainer", "host", 1, "cpu")

    task = await begin(client, recording, options={"device": "cuda:1"})
    experiment = await client.post(
        "/api/v1/experiments", json={"exp_name": "a", "audio_file_id": recording, "device": "cuda"}
    )
    suited = await begin(client, recording, options={"device": "cpu"})

    assert task.status_code == experiment.status_code == 400
    assert task.json()["error"]["message"] == "No host has the GPU cuda:1."
    assert experiment.json()["error"]["message"] == "No host has a GPU."
    assert "There are: cpu" in task.json()["error"]["hint"]
    assert suited.status_code == 201


async def test_before_any_trainer_is_up_a_device_is_taken_at_its_word(
    client: httpx.AsyncClient, recording: str
) -> None:
    assert (await begin(client, recording, options={"device": "cuda:1"})).status_code == 201


async def test_a_scheduled_task_is_listed_with_its_time_and_can_be_cancelled_before_it(
    client: httpx.AsyncClient, queue: AsyncQueue, recording: str
) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)

    created = (await begin(client, recording, schedule_at=tomorrow.isoformat())).json()
    listed = (await client.get("/api/v1/tasks?status=queued")).json()["items"]
    job = f"{created['exp_id']}.convert.1"
    waiting = await queue.job(job)
    cancelled = (await client.delete(f"/api/v1/tasks/{created['id']}")).json()

    view = tomorrow.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert [(item["id"], item["schedule_at"]) for item in listed] == [(created["id"], view)]
    assert created["message"] == f"Begins at {view}."
    assert waiting is not None
    assert waiting.status is JobStatus.DELAYED
    assert cancelled["status"] == "cancelled"
    after = await queue.job(job)
    assert after is not None
    assert after.status is JobStatus.CANCELLED


async def test_a_stage_begins_at_its_time(client: httpx.AsyncClient, queue: AsyncQueue, recording: str) -> None:
    created = await client.post("/api/v1/experiments", json={"exp_name": "a", "audio_file_id": recording})
    path = f"/api/v1/experiments/{created.json()['id']}/stages/convert"

    started = await client.post(path, json={"schedule_at": "2999-01-01T00:00:00Z"})
    waiting = await queue.job(started.json()["job_id"])
    view = (await client.get(path)).json()
    cancelled = await client.delete(path)

    assert started.status_code == 200
    assert waiting is not None
    assert waiting.status is JobStatus.DELAYED
    assert view["schedule_at"] == "2999-01-01T00:00:00.000Z"
    assert view["message"] == "Begins at 2999-01-01T00:00:00.000Z."
    assert cancelled.json()["status"] == "cancelled"


async def test_an_inference_begins_at_its_time(
    client: httpx.AsyncClient, queue: AsyncQueue, voice: VoiceRecord
) -> None:
    started = await client.post(
        "/api/v1/inference", json={"text": "Hello.", "voice": voice.name, "schedule_at": "2999-01-01T00:00:00Z"}
    )
    late = await client.post(
        "/api/v1/inference", json={"text": "Hello.", "voice": voice.name, "schedule_at": "1999-01-01T00:00:00Z"}
    )

    assert (started.status_code, started.json()["status"], late.status_code) == (202, "queued", 400)
    assert await queue.claim("splitter", "worker-1") is None
    cancelled = await client.delete(f"/api/v1/inference/{started.json()['id']}")
    assert cancelled.json()["status"] == "cancelled"


@pytest.mark.parametrize("priority", [1, 10])
async def test_a_priority_goes_all_the_way_to_the_queue(
    client: httpx.AsyncClient, queue: AsyncQueue, recording: str, priority: int
) -> None:
    await begin(client, recording)
    created = (await begin(client, recording, priority=priority)).json()

    first = await queue.claim("preprocessor", "worker-1")

    assert first is not None
    assert (first.job.topic == created["id"]) is (priority == 10)
    job = await queue.job(f"{created['exp_id']}.convert.1")
    assert job is not None
    assert job.priority == priority


async def test_a_time_that_has_just_passed_is_now(client: httpx.AsyncClient, recording: str) -> None:
    just_now = datetime.fromtimestamp(time.time() - 5, UTC).isoformat()

    assert (await begin(client, recording, schedule_at=just_now)).status_code == 201


async def test_resources_and_metrics_show_what_running_synthesizers_have_loaded(
    client: httpx.AsyncClient, queue: AsyncQueue
) -> None:
    def loaded(worker: str, kind: str, name: str) -> LoadedModel:
        return LoadedModel(worker, "there", "cuda:0", kind, name, 512.5, ("gpt-1", "sovits-1"))

    reports = LoadedModelReports(queue.transport, queue.prefix)
    await queue.register_worker("synthesizer-1", "synthesizer", "there", 1, "cuda:0")
    await queue.register_worker("synthesizer-1/1", "synthesizer", "there", 1, "cuda:0")
    await reports.report("synthesizer-1", [loaded("synthesizer-1", "voice", n) for n in ("ann", "bob")])
    await reports.report("synthesizer-ended", [loaded("synthesizer-ended", "voice", "cid")])

    shown = (await client.get("/api/v1/resources")).json()["loaded"]
    metrics = (await client.get("/metrics")).text

    place = {"worker": "synthesizer-1", "host": "there", "device": "cuda:0", "kind": "voice", "megabytes": 512.5}
    assert shown == [{**place, "name": "ann"}, {**place, "name": "bob"}]
    assert 'sovits_loaded_models{kind="voice"} 2.0' in metrics
    assert 'sovits_loaded_megabytes{kind="voice"} 1025.0' in metrics
    await reports.forget("synthesizer-1")
    assert (await client.get("/api/v1/resources")).json()["loaded"] == []
