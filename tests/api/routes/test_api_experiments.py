"""Experiments over HTTP: created, listed, changed, deleted; and what presets and stages take."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from api_support import Api

from core.jobs.queue import AsyncQueue
from core.records import DatasetContents, NewFileRecord, Records

REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"exp_name": ""}, 422, "exp_name"),
    ({"exp_name": 7}, 422, "exp_name"),
    ({"exp_name": "  "}, 400, "exp_name"),
    ({"colour": "red"}, 422, "'colour'"),
    ({"version": "v9"}, 422, "version"),
    ({"gpu_numbers": "0;1"}, 422, "gpu_numbers"),
    ({"is_half": "perhaps"}, 422, "is_half"),
    ({"language": "klingon"}, 422, "klingon"),
    ({"priority": 0}, 422, "priority"),
    ({"device": "tpu"}, 422, "device"),
    ({"audio_file_id": "file-none"}, 404, "file-none"),
    ({"audio_file_id": None}, 400, "audio_file_id or dataset_id"),
    ({"dataset_id": "dataset-1"}, 400, "audio_file_id or dataset_id"),
    ({"audio_file_id": None, "dataset_id": "dataset-none"}, 404, "dataset-none"),
]
"""What changes in a request that would do, the status of the answer, and what it says."""


@pytest.fixture
async def recording(records: Records) -> str:
    """Return the id of a file that nobody will open."""
    file = await records.files.create(
        NewFileRecord(id="file-a", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )
    return file.id


async def create(client: httpx.AsyncClient, recording: str, **more: Any) -> dict[str, Any]:
    body = {"exp_name": "bob", "version": "nano", "audio_file_id": recording, "language": "en", **more}
    response = await client.post("/api/v1/experiments", json=body)
    assert response.status_code == 201, response.text
    view: dict[str, Any] = response.json()
    return view


async def test_a_new_experiment_has_every_stage_of_its_version_pending(client, recording, queue: AsyncQueue):
    created = await create(client, recording)

    assert created["id"].startswith("exp-")
    assert created["status"] == "created"
    assert next(iter(created["stages"])) == "convert"
    assert {stage["status"] for stage in created["stages"].values()} == {"pending"}
    assert "speaker_vector" not in created["stages"]
    assert (await client.get(f"/api/v1/experiments/{created['id']}")).json() == created
    assert (await queue.depths())["preprocessor"] == 0


async def test_the_defaults_are_those_that_were_promised(client, recording):
    response = await client.post("/api/v1/experiments", json={"exp_name": "a", "audio_file_id": recording})

    view = response.json()
    assert (view["version"], view["gpu_numbers"], view["is_half"]) == ("v2", "0", True)
    assert (view["language"], view["priority"], view["dataset_id"]) == ("zh", 5, None)


async def test_what_cannot_be_is_rejected_by_name(client, recording):
    for change, status, message in REFUSED:
        response = await client.post(
            "/api/v1/experiments", json={"exp_name": "a", "audio_file_id": recording, **change}
        )

        assert response.status_code == status, change
        assert message in response.json()["error"]["message"]
    assert (await client.get("/api/v1/experiments")).json()["total"] == 0


async def test_an_experiment_begins_from_the_newest_version_of_a_data_set(client, records: Records):
    await make_dataset(records, "dataset-1", ready=True)

    response = await client.post("/api/v1/experiments", json={"exp_name": "a", "dataset_id": "dataset-1"})
    task = await client.post("/api/v1/tasks", json={"exp_name": "a", "options": {"dataset_id": "dataset-1"}})

    view = response.json()
    assert (response.status_code, task.status_code) == (201, 201)
    assert (view["dataset_id"], view["dataset_version"], view["audio_file_id"]) == ("dataset-1", 1, None)
    assert (view["language"], task.json()["options"]["language"]) == ("ja", "ja")


async def test_a_data_set_in_the_making_is_no_beginning_yet(client, records: Records):
    await make_dataset(records, "dataset-1", ready=False)

    response = await client.post("/api/v1/experiments", json={"exp_name": "a", "dataset_id": "dataset-1"})

    assert response.status_code == 409
    assert "dataset-1 is preparing" in response.json()["error"]["message"]


async def test_experiments_are_listed_newest_first_and_by_status(client, recording):
    first = await create(client, recording)
    second = await create(client, recording)
    await client.post(f"/api/v1/experiments/{first['id']}/stages/convert")

    everything = (await client.get("/api/v1/experiments", params={"limit": 1})).json()
    running = (await client.get("/api/v1/experiments", params={"status": "running"})).json()

    assert (everything["total"], [item["id"] for item in everything["items"]]) == (2, [second["id"]])
    assert [item["id"] for item in running["items"]] == [first["id"]]
    assert running["items"][0]["stages"]["convert"]["status"] == "queued"
    assert (await client.get("/api/v1/experiments", params={"status": "resting"})).status_code == 422


async def test_a_task_is_an_experiment_too(client, recording):
    task = await client.post("/api/v1/tasks", json={"exp_name": "a", "audio_file_id": recording})

    view = (await client.get(f"/api/v1/experiments/{task.json()['exp_id']}")).json()

    assert (view["task_id"], view["status"]) == (task.json()["id"], "running")


async def test_name_gpus_and_precision_can_be_changed(client, recording):
    created = await create(client, recording)
    path = f"/api/v1/experiments/{created['id']}"

    changed = await client.patch(path, json={"exp_name": "rob", "gpu_numbers": "0-1-2", "is_half": False})

    assert changed.status_code == 200
    assert {name: changed.json()[name] for name in ("exp_name", "gpu_numbers", "is_half")} == {
        "exp_name": "rob",
        "gpu_numbers": "0-1-2",
        "is_half": False,
    }
    for body, status in [({"version": "v1"}, 422), ({"gpu_numbers": "0-0"}, 422), ({}, 400), ({"is_half": 3}, 422)]:
        assert (await client.patch(path, json=body)).status_code == status
    assert (await client.get(path)).json() == changed.json()


async def test_deleting_takes_the_files_along_and_waits_for_no_running_stage(api: Api, recording):
    created = await create(api.client, recording)
    path = f"/api/v1/experiments/{created['id']}"
    api.services.storage.put_bytes(f"experiments/{created['id']}/segments/a.wav", b"sound")
    await api.client.post(f"{path}/stages/convert")

    rejected = await api.client.delete(path)
    await api.client.delete(f"{path}/stages/convert")
    deleted = await api.client.delete(path)

    assert (rejected.status_code, rejected.json()["error"]["code"]) == (409, "conflict")
    assert (deleted.status_code, deleted.json()["success"]) == (200, True)
    assert (await api.client.get(path)).status_code == 404
    assert not api.services.storage.exists(f"experiments/{created['id']}/segments/a.wav")


async def test_a_preset_runs_and_says_what_follows(client, recording):
    created = await create(client, recording)
    path = f"/api/v1/experiments/{created['id']}/presets"

    response = await client.post(f"{path}/full_training", json={"gpt_train": {"total_epoch": 2}})

    assert response.status_code == 200
    assert [item["stage_type"] for item in response.json()["started"]] == ["convert"]
    assert response.json()["planned"][-1] == "gpt_train"
    assert (await client.post(f"{path}/full_training")).status_code == 409
    assert (await client.post(f"{path}/none")).status_code == 404
    assert (await client.post(f"{path}/full_training", json={"asr": 3})).status_code == 422


async def test_an_unknown_experiment_is_not_found(client):
    for path in ("exp-none", "%00", "..%2Fetc", "x" * 300):
        for method, body in (("GET", None), ("PATCH", {"exp_name": "a"}), ("DELETE", None)):
            response = await client.request(method, f"/api/v1/experiments/{path}", json=body)
            assert response.status_code == 404, path


async def test_the_presets_are_listed(client):
    presets = (await client.get("/api/v1/stages/presets")).json()

    assert [item["id"] for item in presets["presets"]] == ["full_training", "retrain_sovits", "feature_extraction"]
    assert [item["name"] for item in presets["presets"]] == ["完整训练流程", "重训 SoVITS", "特征提取"]
    assert presets["presets"][1]["stages"] == ["sovits_train"]
    assert presets["items"] == presets["presets"]


async def test_a_schema_reports_what_a_stage_takes(client):
    view = (await client.get("/api/v1/stages/audio_slice/schema")).json()
    alias = (await client.get("/api/v1/stages/slice_audio/schema")).json()

    threshold = view["parameters"]["threshold"]
    assert view == alias
    assert (view["type"], view["name"], view["alias"], view["needs"]) == (
        "audio_slice",
        "音频切片",
        "slice_audio",
        ["convert"],
    )
    assert threshold | {"description": ""} == {
        "type": "integer",
        "default": -34,
        "min": -60,
        "max": 0,
        "description": "",
    }
    assert all(parameter["description"] for parameter in view["parameters"].values())
    assert (await client.get("/api/v1/stages/mastering/schema")).status_code == 404


async def test_a_parameter_without_a_limit_names_none(client):
    parameters = (await client.get("/api/v1/stages/gpt_train/schema")).json()["parameters"]

    assert parameters["save_every_epoch"].keys() == {"type", "default", "description", "min"}
    assert (parameters["pretrained_s1"]["type"], parameters["pretrained_s1"]["default"]) == ("string", None)


async def make_dataset(records: Records, dataset_id: str, *, ready: bool) -> None:
    """Create a data set of nothing, in Japanese."""
    await records.datasets.create(dataset_id, "of nothing", "ja", "import", {}, 5)
    if ready:
        await records.dataset_versions.finish(dataset_id, 1, DatasetContents([], []), [], "Made.")
