"""What a training has to show, over HTTP: losses, judged checkpoints, a picture and what it sounds like."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from core.records import NewFileRecord, Records
from core.settings import Settings
from core.stages.stage import STAGES
from core.stages.status import StageStatus
from core.storage import Storage


def trained(folder: str) -> dict[str, Any]:
    """Return outputs of a training, as the trainer leaves them."""
    row = {"epoch": 4, "checkpoint_id": "ckpt-4", "wer": 0.1, "similarity": 0.8, "dnsmos": 3.0}
    metrics = {"final_loss": 1.5, "best_epoch": 4, "history": [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5}]}
    return {
        "checkpoint_id": "ckpt-4",
        "model_path": "checkpoints/ckpt-4.safetensors",
        "metrics": metrics,
        "checkpoints": [{**row, "sample": f"{folder}/samples/e4.wav"}],
        "curves": f"{folder}/loss.png",
    }


@pytest.fixture
async def exp_id(client: httpx.AsyncClient, records: Records, settings: Settings) -> str:
    """Return an experiment whose GPT is trained and whose SoVITS model is not."""
    file = await records.files.create(
        NewFileRecord(id="file-1", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )
    created = await client.post(
        "/api/v1/experiments", json={"exp_name": "bob", "version": "nano", "audio_file_id": file.id}
    )
    exp_id: str = created.json()["id"]
    folder = f"experiments/{exp_id}/gpt_1"
    storage = Storage(settings.storage_root)
    lines = [{"epoch": 1, "step": 1, "loss": 2.0}, {"epoch": 2, "step": 2, "loss": 1.5}]
    storage.put_bytes(f"{folder}/metrics.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    storage.put_bytes(f"{folder}/loss.png", b"\x89PNG")
    storage.put_bytes(f"{folder}/samples/e4.wav", b"RIFF")
    async with records.experiments.transaction(exp_id) as change:
        change.set_stage(
            "gpt_train", status=StageStatus.COMPLETED, run=1, work_run=1, outputs=trained(folder), progress=1.0
        )
    return exp_id


async def test_losses_and_checkpoints_of_a_training_are_numbers(client, exp_id):
    response = await client.get(f"/api/v1/experiments/{exp_id}/stages/gpt_train/metrics", params={"points": 2})

    view = response.json()
    assert response.status_code == 200
    assert view["epochs"] == [{"epoch": 1, "losses": {"loss": 2.0}}, {"epoch": 2, "losses": {"loss": 1.5}}]
    assert view["curve"] == {"steps": [1, 2], "losses": {"loss": [2.0, 1.5]}}
    assert view["metrics"] == {"final_loss": 1.5, "best_epoch": 4}
    assert view["checkpoints"][0]["wer"] == 0.1
    assert view["artefacts"] == ["loss.png", "e4.wav"]


async def test_what_a_training_has_spoken_can_be_heard_while_it_goes_on(client, exp_id, records, settings):
    folder = f"experiments/{exp_id}/sovits_1"
    Storage(settings.storage_root).put_bytes(f"{folder}/samples/e0.wav", b"RIFF of the base")
    before = {"epoch": 0, "sample": f"{folder}/samples/e0.wav", "text": "Hello."}
    epoch = {"epoch": 2, "sample": f"{folder}/samples/e2.wav", "text": "Hello.", "checkpoint_id": "ckpt-2", "wer": 0.2}
    async with records.experiments.transaction(exp_id) as change:
        change.set_stage("sovits_train", status=StageStatus.RUNNING, run=1, work_run=1, previews=[before, epoch])

    experiment = (await client.get(f"/api/v1/experiments/{exp_id}")).json()
    stage = (await client.get(f"/api/v1/experiments/{exp_id}/stages/sovits_train")).json()
    results = (await client.get(f"/api/v1/experiments/{exp_id}/stages/sovits_train/metrics")).json()
    sample = await client.get(f"/api/v1/experiments/{exp_id}/stages/sovits_train/artefacts/e0.wav")

    assert experiment["stages"]["sovits_train"]["previews"] == stage["previews"] == [before, epoch]
    assert (experiment["stages"]["gpt_train"]["previews"], stage["outputs"]) == ([], None)
    assert (results["previews"], results["checkpoints"]) == ([before, epoch], [epoch])
    assert results["artefacts"] == ["e0.wav", "e2.wav"]
    assert sample.content == b"RIFF of the base"


@pytest.mark.parametrize(
    ("name", "kind", "content"), [("loss.png", "image/png", b"\x89PNG"), ("e4.wav", "audio/wav", b"RIFF")]
)
async def test_pictures_and_samples_are_sent(client, exp_id, name, kind, content):
    response = await client.get(f"/api/v1/experiments/{exp_id}/stages/train_gpt/artefacts/{name}")

    assert (response.status_code, response.headers["content-type"], response.content) == (200, kind, content)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/experiments/exp-none/stages/gpt_train/metrics", 404, "not_found"),
        ("/api/v1/experiments/{exp}/stages/nothing/metrics", 404, "not_found"),
        ("/api/v1/experiments/{exp}/stages/asr/metrics", 400, "invalid_request"),
        ("/api/v1/experiments/{exp}/stages/gpt_train/metrics?points=-1", 422, "invalid_request"),
        ("/api/v1/experiments/{exp}/stages/gpt_train/artefacts/e9.wav", 404, "not_found"),
        ("/api/v1/experiments/{exp}/stages/sovits_train/artefacts/loss.png", 404, "not_found"),
        ("/api/v1/experiments/exp-none/stages/gpt_train/artefacts/loss.png", 404, "not_found"),
    ],
)
async def test_what_is_not_there_is_said(client, exp_id, path, status, code):
    response = await client.get(path.format(exp=exp_id))

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


async def test_an_artefact_whose_bytes_are_gone_is_said(client, exp_id, settings):
    Storage(settings.storage_root).delete(f"experiments/{exp_id}/gpt_1/loss.png")

    response = await client.get(f"/api/v1/experiments/{exp_id}/stages/gpt_train/artefacts/loss.png")

    assert response.status_code == 404
    assert "Run the stage again" in response.json()["error"]["hint"]


async def test_a_completed_task_reports_which_epoch_was_taken_and_why(client, records, exp_id):
    from dataclasses import replace

    from core.records import TaskStatus

    file_id = "file-1"
    created = await client.post(
        "/api/v1/tasks", json={"exp_name": "eve", "audio_file_id": file_id, "options": {"version": "nano"}}
    )
    task = created.json()
    assert "result" not in (await client.get(f"/api/v1/tasks/{task['id']}")).json()
    async with records.experiments.transaction(task["exp_id"]) as change:
        for name in STAGES:
            change.set_stage(name, status=StageStatus.COMPLETED, run=1, work_run=1, outputs=trained("experiments/x"))
        change.task = replace(change.task, status=TaskStatus.COMPLETED)

    view = (await client.get(f"/api/v1/tasks/{task['id']}")).json()["result"]

    assert view.keys() == {"sovits_train", "gpt_train"}
    assert view["gpt_train"]["checkpoint_id"] == "ckpt-4"
    assert view["gpt_train"]["metrics"] == {"final_loss": 1.5, "best_epoch": 4}
    assert view["gpt_train"]["checkpoints"][0]["similarity"] == 0.8
