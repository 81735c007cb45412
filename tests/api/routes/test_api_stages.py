"""Stages over HTTP: run, run again, watched, paused, resumed, cancelled, and rejected by name."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import orjson
import pytest
from api_support import Api, eventually, gauge_value

from core.experiments.requests import ExperimentRequest
from core.jobs.logs import log_topic
from core.records import NewFileRecord, Records

BEFORE_TRAINING = ("convert", "audio_slice", "asr", "text_feature", "hubert_feature", "semantic_token")


REFUSED_RUNS: list[tuple[str, Any, int, str]] = [
    ("asr", {}, 400, "needs audio_slice first"),
    ("sovits_train", {}, 400, "needs text_feature, semantic_token first"),
    ("speaker_vector", {}, 400, "nano has no speaker_vector"),
    ("mastering", {}, 400, "mastering"),
    ("audio_slice", {"threshold": 5}, 422, "audio_slice.threshold is 5"),
    ("convert", {"confirm": "perhaps"}, 422, "confirm"),
    ("convert", [], 422, "dictionary"),
    ("convert", {"device": "tpu"}, 422, "device"),
    ("convert", {"schedule_at": "2001-01-01T00:00:00Z"}, 400, "has passed"),
]
"""Stage, body, status of the answer, and what it says."""
REFUSED_PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 0}, "batch_size"),
    ({"total_epoch": 101}, "total_epoch"),
    ({"total_epoch": "many"}, "total_epoch"),
    ({"pretrained_s1": "/etc/passwd"}, "pretrained_s1"),
    ({"pretrained_s1": "ckpt-none"}, "pretrained_s1"),
    ({"dpo": 7}, "dpo"),
    ({"save_every_epoch": 10**30}, "save_every_epoch"),
]
"""Body, and the parameter that the answer names."""
REFUSED_ORDERS: list[tuple[str, dict[str, Any], int, str]] = [
    ("gpt_train", {"action": "rewind"}, 422, "action"),
    ("gpt_train", {}, 422, "action"),
    ("gpt_train", {"action": "pause", "when": "now"}, 422, "'when'"),
    ("gpt_train", {"action": "pause"}, 409, "pending"),
    ("gpt_train", {"action": "resume"}, 409, "pending"),
    ("asr", {"action": "pause"}, 400, "asr cannot pause"),
    ("none", {"action": "pause"}, 404, "none"),
]
"""Stage, body, status of the answer, and what it says."""


@pytest.fixture
async def path(api: Api, records: Records) -> str:
    """Return the stages of a new experiment."""
    await records.files.create(
        NewFileRecord(id="file-a", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )
    created = await api.services.experiments.create(ExperimentRequest("bob", "file-a", version="nano", language="en"))
    return f"/api/v1/experiments/{created.id}/stages"


async def complete(api: Api, path: str, *stages: str) -> None:
    for stage in stages:
        await api.client.post(f"{path}/{stage}")
        await end_well(api, path, stage)


async def end_well(api: Api, path: str, stage: str, **outputs: Any) -> None:
    """Report a run as completed, like its worker."""
    run = await start(api, path, stage)
    await api.services.experiments.runs.complete(path.split("/")[4], stage, run, outputs)


async def start(api: Api, path: str, stage: str) -> int:
    """Return what a worker tells of a run that it begins; the run's number."""
    run = (await api.client.get(f"{path}/{stage}")).json()["run"]
    await api.services.experiments.runs.start(path.split("/")[4], stage, run)
    return int(run)


async def training(api: Api, path: str, **parameters: Any) -> int:
    """Return a GPT training that its worker has begun; the run's number."""
    await complete(api, path, *BEFORE_TRAINING)
    response = await api.client.post(f"{path}/gpt_train", json=parameters)
    assert response.status_code == 200, response.text
    return await start(api, path, "gpt_train")


async def test_a_stage_runs_with_its_parameters_over_the_defaults(api, path):
    await complete(api, path, "convert")

    response = await api.client.post(f"{path}/slice_audio", json={"min_length": 2000})

    view = response.json()
    assert response.status_code == 200
    assert (view["exp_id"], view["stage_type"], view["status"]) == (path.split("/")[4], "audio_slice", "queued")
    assert (view["config"]["min_length"], view["config"]["threshold"]) == (2000, -34)
    assert view["job_id"] == f"{view['exp_id']}.audio_slice.1"
    assert view["started_at"].endswith("Z")
    assert view["rerun"] is False
    assert view["previous_run"] is None
    assert view["warnings"] == []


async def test_a_completed_stage_runs_again_and_what_depends_on_it_becomes_stale(api, path):
    await complete(api, path, "convert", "audio_slice")
    await api.client.post(f"{path}/convert")
    await end_well(api, path, "convert", seconds=3)

    again = (await api.client.post(f"{path}/convert")).json()

    assert again["rerun"] is True
    assert (again["previous_run"]["run"], again["previous_run"]["outputs"]) == (2, {"seconds": 3})
    assert again["previous_run"]["completed_at"].endswith("Z")
    stale = (await api.client.get(f"{path}/audio_slice")).json()
    assert (stale["status"], stale["state"]) == ("completed", "stale")


async def test_a_stage_that_cannot_run_is_rejected_by_name(api, path):
    for stage, body, status, message in REFUSED_RUNS:
        response = await api.client.post(f"{path}/{stage}", json=body)

        assert response.status_code == status, (stage, body)
        assert message in response.json()["error"]["message"]
    assert {item["status"] for item in (await api.client.get(path)).json()["items"]} == {"pending"}


async def test_a_parameter_out_of_range_is_named(api, path):
    await complete(api, path, *BEFORE_TRAINING)

    for body, named in REFUSED_PARAMETERS:
        response = await api.client.post(f"{path}/train_gpt", json=body)

        assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_parameter"), body
        assert response.json()["error"]["details"] == {"parameters": [named]}


async def test_a_stage_under_way_is_not_started_twice(api, path):
    await api.client.post(f"{path}/convert")

    response = await api.client.post(f"{path}/convert")

    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")


async def test_the_unmet_needs_are_listed(api, path):
    response = (await api.client.post(f"{path}/gpt_train")).json()

    assert response["error"]["details"] == {"unmet": ["text_feature", "semantic_token"]}
    assert response["detail"] == "依赖阶段未完成: text_feature, semantic_token"


async def test_the_first_stage_that_clients_know_converts_the_recording_by_itself(api, path):
    started = (await api.client.post(f"{path}/audio_slice", json={"speed": 2})).json()

    stages = {stage["stage_type"]: stage for stage in (await api.client.get(path)).json()["stages"]}
    assert (started["status"], started["rerun"], started["job_id"]) == (
        "queued",
        False,
        f"{path.split('/')[4]}.audio_slice.1",
    )
    assert started["warnings"] == ["audio_slice has no parameter 'speed'; it changes nothing."]
    assert (stages["convert"]["status"], stages["audio_slice"]["message"]) == ("queued", "Waits for convert.")


async def test_a_stage_that_was_cancelled_runs_again_without_a_previous_run(api, path):
    await api.client.post(f"{path}/audio_slice")
    await api.client.delete(f"{path}/audio_slice")

    again = (await api.client.post(f"{path}/audio_slice")).json()

    assert (again["rerun"], again["previous_run"]) == (True, None)


async def test_weights_may_be_named_by_what_the_schema_shows(api, path):
    await complete(api, path, *BEFORE_TRAINING)
    parameters = (await api.client.get("/api/v1/stages/sovits_train/schema")).json()["parameters"]

    body = {name: parameter["default"] for name, parameter in parameters.items()}
    started = await api.client.post(f"{path}/sovits_train", json=body)

    assert started.status_code == 200, started.text
    assert started.json()["config"] == body


async def test_a_stage_is_cancelled(api, path):
    await api.client.post(f"{path}/convert")

    cancelled = await api.client.delete(f"{path}/convert_audio")

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert (cancelled.json()["success"], cancelled.json()["message"]) == (True, "阶段 convert 已取消")
    idle, unknown = [await api.client.delete(f"{path}/{stage}") for stage in ("audio_slice", "none")]
    assert (idle.status_code, idle.json()["detail"]) == (400, "Stage not running or cannot be cancelled")
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "Stage not found")


async def test_a_training_pauses_and_resumes(api, path):
    run = await training(api, path, total_epoch=3)

    requested = await api.client.post(f"{path}/gpt_train/control", json={"action": "pause"})
    await api.services.experiments.runs.pause(path.split("/")[4], "gpt_train", run)
    rejected = await api.client.post(
        f"{path}/gpt_train/control", json={"action": "resume", "parameters": {"total_epoch": 4}}
    )
    resumed = await api.client.post(
        f"{path}/gpt_train/control", json={"action": "resume", "parameters": {"total_epoch": 4}, "confirm": True}
    )

    assert (requested.json()["status"], requested.json()["control"]) == ("running", "pause")
    assert (rejected.status_code, rejected.json()["error"]["code"]) == (409, "confirmation_needed")
    assert rejected.json()["error"]["details"] == {"changed": {"total_epoch": {"before": 3, "now": 4}}}
    assert (resumed.status_code, resumed.json()["status"], resumed.json()["run"]) == (200, "queued", run + 1)


async def test_an_order_that_makes_no_sense_is_rejected(api, path):
    for stage, body, status, message in REFUSED_ORDERS:
        response = await api.client.post(f"{path}/{stage}/control", json=body)

        assert response.status_code == status, (stage, body)
        assert message in response.json()["error"]["message"]


async def test_an_unknown_experiment_shows_no_stages_and_takes_no_orders(client: httpx.AsyncClient):
    for rest in ("", "/convert", "/convert/progress", "/convert/logs", "/convert/logs/stream"):
        assert (await client.get(f"/api/v1/experiments/exp-none/stages{rest}")).status_code == 404, rest
    path = "/api/v1/experiments/exp-none/stages/gpt_train"

    assert (await client.post(path)).status_code == 404
    assert (await client.delete(path)).status_code == 404
    assert (await client.post(f"{path}/control", json={"action": "pause"})).status_code == 404
    assert (await client.post("/api/v1/experiments/exp-none/presets/full_training")).status_code == 404


async def listen(client: httpx.AsyncClient, path: str, last_event_id: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every (kind, data) until the stream ends."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    events: list[tuple[str, dict[str, Any]]] = []
    async with client.stream("GET", path, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        kind = ""
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                events.append((kind, orjson.loads(value)))
    return events


async def watching(api: Api) -> None:
    await eventually(lambda: gauge_value(api.services.metrics.watchers) > 0)


async def test_a_watcher_receives_of_its_run_until_it_is_completed(api, path):
    run = await training(api, path)
    watcher = asyncio.create_task(listen(api.client, f"{path}/gpt_train/progress"))
    await watching(api)

    job_id = f"{path.split('/')[4]}.gpt_train.{run}"
    await api.services.queue.publish_event(job_id, "progress", {"stage": "gpt_train", "progress": 0.5})
    await api.services.queue.publish_event(job_id, "checkpoint", {"epoch": 1, "model_path": "gpt-e1.safetensors"})
    await api.services.experiments.runs.complete(path.split("/")[4], "gpt_train", run, {"model_path": "x"})
    await api.services.queue.publish_event(job_id, "completed", {"job_id": job_id})
    events = await asyncio.wait_for(watcher, 10)

    assert [kind for kind, _ in events] == ["progress", "progress", "checkpoint", "completed"]
    assert events[0][1]["message"] == "Started."  # how it was when the watcher came
    assert (events[-1][1]["outputs"], events[-1][1]["final_loss"]) == ({"model_path": "x"}, None)
    assert await listen(api.client, f"{path}/gpt_train/progress") == events[1:]


async def test_one_stream_has_the_progress_of_a_run_and_its_log_whole_at_each_connection(api, path):
    run = await training(api, path)
    job_id = f"{path.split('/')[4]}.gpt_train.{run}"
    watcher = asyncio.create_task(listen(api.client, f"{path}/gpt_train/progress?log=true"))
    await watching(api)

    for message in ("Loaded.", "Trained."):
        line = {"timestamp": time.time(), "level": "INFO", "message": message, "job_id": job_id, "stage": "gpt_train"}
        await api.services.queue.publish_event(log_topic(job_id), "log", line)
    await api.services.queue.publish_event(job_id, "progress", {"stage": "gpt_train", "progress": 0.5})
    await api.services.experiments.runs.complete(path.split("/")[4], "gpt_train", run, {"model_path": "x"})
    await api.services.queue.publish_event(job_id, "completed", {"job_id": job_id})
    events = await asyncio.wait_for(watcher, 10)
    again = await listen(api.client, f"{path}/gpt_train/progress?log=true", last_event_id="9999999999999-0")

    assert [data["message"] for kind, data in events if kind == "log"] == ["Loaded.", "Trained."]
    assert [data["progress"] for kind, data in events if kind == "progress"][-1] == 0.5
    assert events[-1][0] == "completed"
    assert [(kind, data.get("message")) for kind, data in again[:-1]] == [("log", "Loaded."), ("log", "Trained.")]
    assert again[-1][0] == "completed"


async def test_the_stream_of_a_run_that_pauses_says_so(api, path):
    run = await training(api, path)
    watcher = asyncio.create_task(listen(api.client, f"{path}/gpt_train/progress"))
    await watching(api)

    await api.client.post(f"{path}/gpt_train/control", json={"action": "pause"})
    await api.services.experiments.runs.pause(path.split("/")[4], "gpt_train", run)
    events = await asyncio.wait_for(watcher, 10)

    assert [kind for kind, _ in events] == ["progress", "paused"]


async def test_a_stage_that_never_ran_cannot_be_watched(api, path):
    response = await api.client.get(f"{path}/convert/progress")

    assert response.status_code == 409
