"""The model service's API: everything in an envelope, whatever it is and however it ends."""

from __future__ import annotations

import asyncio
import io
import re
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from api_support import Api, ToneWorkers, eventually, gauge_value, make_voice, running, tone

from api.dependencies import ApiServices
from core.jobs.job import WorkerLocation
from core.jobs.queue import AsyncQueue
from core.limits import GpuInfo, HostInfo
from core.records import NewCheckpointRecord, NewFileRecord, Records, TaskStatus, VoiceRecord
from core.settings import Settings
from core.speech.result_uploads import ResultUploadRequest
from core.stages.status import StageStatus

TRAINING: dict[str, Any] = {"model": "nano", "num_classes": 37, "val_path": "file-a", "save_path": "models/bob"}
SPEECH: dict[str, Any] = {"cfg_path": "Allison", "weight_path": "Allison", "source_path": "Hello there. How are you."}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
async def recording(records: Records) -> str:
    """Return the id of a file that nobody will open."""
    file = await records.files.create(
        NewFileRecord(id="file-a", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )
    return file.id


@pytest.fixture
def api_services(client: httpx.AsyncClient) -> ApiServices:
    """Those of the application, to play the workers' part with."""
    transport: Any = client._transport
    result: ApiServices = transport.app.state.services
    return result


def data(response: httpx.Response, status: int = 200) -> Any:
    """Return what is in the envelope, which is whole."""
    body = response.json()
    assert response.status_code == status, response.text
    assert set(body) == {"code", "msg", "data"}
    assert body["code"] == status
    assert isinstance(body["msg"], str)
    assert (body["msg"] == "") == (status < 400)
    return body["data"]


async def start(client: httpx.AsyncClient, recording: str, **more: Any) -> Any:
    body = {**TRAINING, "train_path": recording, "language": "en", **more}
    return data(await client.post("/api/v2/training/start", json=body))


# Trainings


async def test_a_training_begins_under_the_names_of_the_service(
    client: httpx.AsyncClient, recording: str, records: Records, queue: AsyncQueue
) -> None:
    view = await start(
        client,
        recording,
        num_epochs=3,
        batch_size=2,
        device="cpu",
        priority=7,
        description="one",
        strategy_type="S1",
        image_size=224,
        pretrained=True,
        shuffle=False,
    )

    task = await records.tasks.get(view["task_id"])
    experiment = await records.experiments.get(task.exp_id)
    assert (view["task_type"], view["status"], view["progress"], view["device"]) == ("training", "pending", 0, "cpu")
    assert (view["current_epoch"], view["total_epochs"], view["latest_metrics"]) == (0, 3, None)
    assert (view["duration"], view["priority"], view["description"], view["strategy_type"]) == (0.0, 7, "one", "S1")
    assert (view["name"], view["save_path"], view["upload"]) == ("bob", "models/bob", None)
    assert "warnings" not in view
    assert TIME.fullmatch(view["created_at"])
    assert TIME.fullmatch(view["updated_at"])
    assert type(view["progress"]) is int
    assert (task.priority, task.version, experiment.language, experiment.device) == (7, "nano", "en", "cpu")
    assert experiment.parameters["gpt_train"] == {"total_epoch": 3, "batch_size": 2}
    assert data(await client.get(f"/api/v2/training/{view['task_id']}")) == view
    assert data(await client.get(f"/api/v2/tasks/{view['task_id']}")) == view
    assert await queue.job(f"{task.exp_id}.convert.1") is not None


async def test_five_fields_are_enough(client: httpx.AsyncClient, recording: str, records: Records) -> None:
    body = {"model": "resnet18", "num_classes": 37, "train_path": recording, "val_path": "x", "save_path": "out/deep/"}

    view = data(await client.post("/api/v2/training/start", json=body | {"description": None, "upload_url": None}))

    experiment = await records.experiments.get(view["exp_id"])
    assert (view["name"], view["priority"], view["description"], view["strategy_type"]) == ("deep", 5, None, None)
    assert view["total_epochs"] == 8, "the epochs of quality standard"
    assert experiment.parameters["sovits_train"] == {"total_epoch": 8, "batch_size": 8}
    assert experiment.parameters["gpt_train"] == {"total_epoch": 15, "batch_size": 8}
    assert "'resnet18' is no version: the default one is trained." in view["warnings"]


async def test_cuda_without_a_gpu_runs_on_the_cpu_and_says_so(
    client: httpx.AsyncClient, recording: str, records: Records, queue: AsyncQueue
) -> None:
    await queue.register_worker("trainer-1", "trainer", "one", 1, "cpu")

    by_default = await start(client, recording)
    named = await start(client, recording, device="cuda")
    missing = await client.post(
        "/api/v2/training/start", json={**TRAINING, "train_path": recording, "device": "cuda:3"}
    )

    note = "There is no GPU: it runs on the CPU."
    for view in (by_default, named):
        assert view["device"] == "cpu"
        assert note in view["message"]
        assert note in view["warnings"]
        assert (await records.experiments.get(view["exp_id"])).device == ""
    assert data(missing, 400)["error"]["code"] == "invalid_request"


async def test_with_a_gpu_the_device_is_the_one_asked_for_then_the_one_in_use(
    client: httpx.AsyncClient, recording: str, queue: AsyncQueue, api_services: ApiServices
) -> None:
    await queue.register_worker("trainer-1", "trainer", "one", 1, "cuda:1")

    anywhere = await start(client, recording, device="cuda")
    exactly = await start(client, recording, device="cuda:1")
    await complete_preparation(api_services, anywhere["exp_id"])
    await queue.claim("trainer", "trainer-1", 5.0, WorkerLocation("one", "cuda:1"))
    await api_services.experiments.runs.start(anywhere["exp_id"], "sovits_train", 1)
    running_now = data(await client.get(f"/api/v2/training/{anywhere['task_id']}"))

    assert (anywhere["device"], exactly["device"]) == ("cuda", "cuda:1")
    assert "warnings" not in anywhere
    assert (running_now["status"], running_now["device"]) == ("running", "cuda:1")


async def test_what_is_ignored_or_cut_down_is_a_warning(client: httpx.AsyncClient, recording: str) -> None:
    view = await start(
        client, recording, device="cpu", num_epochs=500, batch_size=64, learning_rate=0.1, colour="red", weight_path="x"
    )

    assert view["total_epochs"] == 100
    assert view["warnings"] == [
        "The field 'colour' is not known here and changes nothing.",
        "batch_size 64 is more than 32, which is used.",
        "num_epochs 500 is more than 100, which is used.",
        "learning_rate changes nothing: the recipe has rates of its own.",
        "weight_path is no checkpoint's id: the training begins from the version's base.",
    ]


async def test_a_training_begins_from_a_checkpoint(client: httpx.AsyncClient, recording: str, records: Records) -> None:
    await make_checkpoint(records, "ckpt-gpt", "gpt")

    view = await start(client, recording, weight_path="ckpt-gpt")
    other = await client.post(
        "/api/v2/training/start", json={**TRAINING, "model": "v2", "train_path": recording, "weight_path": "ckpt-gpt"}
    )

    parameters = (await records.experiments.get(view["exp_id"])).parameters
    assert parameters["gpt_train"]["pretrained_s1"] == "ckpt-gpt"
    assert "version nano" in other.json()["msg"]
    assert data(other, 400)["error"]["code"] == "invalid_request"


async def test_an_upload_is_named_by_its_file_name(client: httpx.AsyncClient, recording: str, records: Records) -> None:
    view = await start(client, "a.wav")

    assert (await records.tasks.get(view["task_id"])).audio_file_id == recording


async def test_the_numbers_of_a_training_have_the_names_of_the_service(
    client: httpx.AsyncClient, recording: str, api_services: ApiServices
) -> None:
    view = await start(client, recording)
    exp_id, runs = view["exp_id"], api_services.experiments.runs
    await complete_preparation(api_services, exp_id)
    await runs.start(exp_id, "sovits_train", 1)
    await runs.update_progress(
        exp_id, "sovits_train", 1, 0.5, "Epoch 4 of 8.", epoch=4, total_epochs=8, loss=0.41, learning_rate=0.0001
    )
    sovits = data(await client.get(f"/api/v2/training/{view['task_id']}"))
    await runs.complete(exp_id, "sovits_train", 1, {"checkpoint_id": "ckpt-1"})
    await runs.start(exp_id, "gpt_train", 1)
    numbers = {"epoch": 3, "total_epochs": 15, "loss": 1.2}
    means = {"epoch_loss": 1.5, "epoch_top3_accuracy": 0.61, "best_top3_accuracy": 0.64}
    await runs.update_progress(exp_id, "gpt_train", 1, 0.2, "Epoch 3 of 15.", **numbers, **means)
    gpt = data(await client.get(f"/api/v2/training/{view['task_id']}"))

    assert (sovits["status"], sovits["stage"]) == ("running", "sovits_train")
    assert (sovits["current_epoch"], sovits["total_epochs"]) == (4, 8)
    assert 0 < sovits["progress"] < gpt["progress"] < 100
    assert type(sovits["progress"]) is int
    assert sovits["duration"] > 0
    metrics = sovits["latest_metrics"]
    assert {name: metrics[name] for name in METRICS} == {
        **dict.fromkeys(METRICS),
        "epoch": 4,
        "total_epochs": 8,
        "train_loss": 0.41,
        "learning_rate": 0.0001,
    }
    metrics = gpt["latest_metrics"]
    assert (metrics["epoch"], metrics["total_epochs"], metrics["train_loss"]) == (3, 15, 1.5)
    assert (metrics["train_acc"], metrics["top3_acc"], metrics["best_acc"]) == (61.0, 61.0, 64.0)
    assert (metrics["top1_acc"], metrics["val_acc"], metrics["mAP"], metrics["loss"]) == (None, None, None, 1.2)


METRICS = (
    *("epoch", "total_epochs", "train_loss", "train_acc", "val_loss", "val_acc", "macro_f1", "micro_f1", "mAP"),
    *("top1_acc", "top3_acc", "top5_acc", "precision", "recall", "learning_rate", "best_acc"),
)


async def test_a_training_is_stopped_once(client: httpx.AsyncClient, recording: str) -> None:
    view = await start(client, recording)

    stopped = data(await client.post(f"/api/v2/training/{view['task_id']}/stop"))
    again = data(await client.post(f"/api/v2/training/{view['task_id']}/stop"))
    now = data(await client.get(f"/api/v2/training/{view['task_id']}"))

    assert stopped == {"status": "success", "message": "训练任务已停止", "task_id": view["task_id"]}
    assert (again["status"], again["task_id"]) == ("error", view["task_id"])
    assert "cancelled" in again["message"]
    assert now["status"] == "cancelled"


BAD_TRAININGS: list[tuple[dict[str, Any], int, str]] = [
    *(({name: None}, 400, name) for name in ("model", "num_classes", "train_path", "val_path", "save_path")),
    ({"model": 18}, 400, "model"),
    ({"num_classes": "many"}, 400, "num_classes"),
    ({"save_path": "/"}, 400, "save_path"),
    ({"train_path": "file-none"}, 404, "file-none"),
    ({"train_path": "ds-none"}, 404, "ds-none"),
    ({"train_path": "ftp://example.org/a.wav"}, 400, "refused"),
    ({"train_path": "http://169.254.169.254/latest"}, 400, "not a public address"),
    ({"train_path": "http://10.0.0.1/a.wav"}, 400, "not a public address"),
    ({"num_epochs": 0}, 400, "num_epochs"),
    ({"num_epochs": "10"}, 400, "num_epochs"),
    ({"batch_size": 0}, 400, "batch_size"),
    ({"batch_size": 1.5}, 400, "batch_size"),
    ({"learning_rate": 0}, 400, "learning_rate"),
    ({"image_size": 31}, 400, "image_size"),
    ({"pretrained": "yes"}, 400, "pretrained"),
    ({"priority": 11}, 400, "priority"),
    ({"priority": 0}, 400, "priority"),
    ({"device": "tpu"}, 400, "device"),
    ({"language": "klingon"}, 400, "language"),
    ({"parameters": {"gpt_train": {"batch_size": 0}}}, 400, "batch_size"),
    ({"parameters": {"fly": {}}}, 404, "fly"),
    ({"enable_upload": True}, 400, "upload_url"),
    ({"enable_upload": True, "upload_url": "file:///etc/passwd"}, 400, "refused"),
    ({"enable_upload": True, "upload_url": "http://127.0.0.2/x"}, 400, "not a public address"),
    ({"webhook_url": "http://10.0.0.1/"}, 400, "not a public address"),
    ({"schedule_at": "2001-01-01T00:00:00Z"}, 400, "passed"),
    ({"task_id": ""}, 400, "task_id"),
    ({"task_id": "task-1m8mgxwvkdvcxeseg3pt"}, 400, "the server's own ids"),
]


async def test_bad_trainings_are_400_in_the_envelope(
    client: httpx.AsyncClient, recording: str, records: Records
) -> None:
    for change, status, message in BAD_TRAININGS:
        body = {**TRAINING, "train_path": recording, **change}

        response = await client.post("/api/v2/training/start", json=body)

        assert data(response, status)["error"]["code"], change
        assert message in response.json()["msg"], change
    assert (await records.tasks.page()).total == 0


UNKNOWN = [
    ("GET", "/training/task-none"),
    ("POST", "/training/task-none/stop"),
    ("GET", "/training/task-none/logs"),
    ("GET", "/preprocessing/ds-none.1"),
    ("GET", "/preprocessing/none/logs"),
    ("GET", "/inference/infer-none"),
    *((method, f"/tasks/{id_}") for id_ in ("task-none", "infer-none", "ds-none.1") for method in ("GET", "DELETE")),
    *(("POST", f"/tasks/{id_}/cancel") for id_ in ("task-none", "infer-none", "ds-none.1", "none")),
    *(("GET", f"/tasks/{id_}/logs") for id_ in ("task-none", "infer-none", "ds-none.1", "none")),
    ("GET", "/nothing"),
    ("GET", ""),
]


async def test_what_is_not_there_is_said_in_the_envelope(client: httpx.AsyncClient) -> None:
    for method, path in UNKNOWN:
        response = await client.request(method, f"/api/v2{path}")

        assert data(response, 404)["error"]["code"] == "not_found", path


async def test_wrong_methods_broken_bodies_and_missing_keys_come_in_the_envelope(settings: Settings) -> None:
    async with running(settings.model_copy(update={"valid_api_keys": ("k1",)})) as api:
        missing = await api.client.get("/api/v2/tasks")
        key = {"X-API-Key": "k1"}
        wrong = await api.client.get("/api/v2/tasks", headers={"X-API-Key": "k2"})
        method = await api.client.put("/api/v2/tasks", headers=key)
        broken = await api.client.post(
            "/api/v2/training/start", content=b"{half", headers={**key, "Content-Type": "application/json"}
        )
        scope = await api.client.post(
            "/api/v2/resources/config", json={"max_concurrent": {"cpu": {"training": 1}}}, headers=key
        )
        large = await api.client.post("/api/v2/training/start", json={"model": "x" * (5 << 20)}, headers=key)
        existing = await api.client.get("/api/v2/tasks", headers=key)

    assert data(missing, 401)["error"]["code"] == data(wrong, 401)["error"]["code"] == "unauthorized"
    assert data(method, 405)["error"]["code"] == "not_allowed"
    assert data(broken, 400)["error"]["code"] == "invalid_request"
    assert data(scope, 403)["error"]["code"] == "forbidden"
    assert data(large, 413)["error"]["code"] == "file_too_large"
    assert data(existing) == {"training_tasks": [], "inference_tasks": [], "total_training": 0, "total_inference": 0}


async def test_an_outage_comes_in_the_envelope(settings: Settings, records: Records, recording: str) -> None:
    async with running(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})) as api:
        training = await api.client.post("/api/v2/training/start", json={**TRAINING, "train_path": recording})
        health = await api.client.get("/api/v1/health")

    assert data(training, 503)["error"]["code"] == "queue_unavailable"
    assert (health.status_code, health.json()["status"], health.json()["code"]) == (503, "unhealthy", 503)
    assert "Redis" in health.json()["msg"]
    assert (await records.tasks.page()).total == 0


async def test_the_same_idempotency_key_begins_one_training(client: httpx.AsyncClient, recording: str) -> None:
    body = {**TRAINING, "train_path": recording, "idempotency_key": "k1"}

    responses = [await client.post("/api/v2/training/start", json=body) for _ in range(2)]

    assert len({data(response)["task_id"] for response in responses}) == 1
    assert data(await client.get("/api/v2/tasks"))["total_training"] == 1


# Ids that clients choose


async def test_a_client_chooses_the_ids_of_its_tasks(
    client: httpx.AsyncClient, recording: str, voice: VoiceRecord, records: Records
) -> None:
    training = await start(client, recording, task_id="my-training")
    split = data(
        await client.post(
            "/api/v2/preprocessing/split", json={"input_path": recording, "output_path": "s", "task_id": "my-split"}
        )
    )
    speech = data(await client.post("/api/v2/inference/start", json={**SPEECH, "task_id": "my-speech"}))

    listed = data(await client.get("/api/v2/tasks"))
    views = [data(await client.get(f"/api/v2/tasks/{name}")) for name in ("my-training", "my-split", "my-speech")]
    logs = [data(await client.get(f"/api/v2/tasks/{name}/logs")) for name in ("my-training", "my-split", "my-speech")]
    assert views == [training, split, speech]
    assert [view["task_id"] for view in views] == ["my-training", "my-split", "my-speech"]
    assert [item["task_id"] for item in listed["training_tasks"]] == ["my-training"]
    assert [item["task_id"] for item in listed["inference_tasks"]] == ["my-speech"]
    assert logs == [[], [], []]
    assert data(await client.get("/api/v2/training/my-training"))["exp_id"] == training["exp_id"]
    assert data(await client.get("/api/v2/preprocessing/my-split")) == split
    assert data(await client.get("/api/v2/inference/my-speech"))["description"] is None


async def test_an_id_is_taken_until_its_task_is_deleted(
    client: httpx.AsyncClient, recording: str, voice: VoiceRecord, records: Records
) -> None:
    body = {**TRAINING, "train_path": recording, "task_id": "mine"}
    await start(client, recording, task_id="mine")

    again = await client.post("/api/v2/training/start", json=body)
    of_another_type = await client.post("/api/v2/inference/start", json={**SPEECH, "task_id": "mine"})
    total = (await records.tasks.page()).total
    deleted = data(await client.delete("/api/v2/tasks/mine"))
    gone = await client.get("/api/v2/tasks/mine")
    afterwards = await client.post("/api/v2/training/start", json=body)

    assert data(again, 409)["error"]["code"] == data(of_another_type, 409)["error"]["code"] == "conflict"
    assert total == 1
    assert deleted == {"status": "success", "message": "The task is deleted.", "task_id": "mine"}
    assert gone.status_code == 404
    assert data(afterwards)["task_id"] == "mine"


async def test_an_id_is_free_when_its_task_could_not_begin(client: httpx.AsyncClient, recording: str) -> None:
    bad = await client.post("/api/v2/training/start", json={**TRAINING, "train_path": "ds-none", "task_id": "mine"})

    assert bad.status_code == 404
    assert (await start(client, recording, task_id="mine"))["task_id"] == "mine"


# Logs


async def test_the_log_of_a_training_streams_lines_and_numbers_and_the_end(api: Api, recording: str) -> None:
    view = await start(api.client, recording)
    queue = api.services.queue
    experiment = await api.services.records.experiments.get(view["exp_id"])
    await api.services.experiments.notifier.log(experiment, "sovits_train started.", stage="sovits_train")
    listening = asyncio.create_task(listen(api.client, f"/api/v2/training/{view['task_id']}/logs"))
    await eventually(lambda: gauge_value(api.services.metrics.watchers) == 1)
    watched = (await api.client.get("/api/v1/health")).json()["active_log_streams"]

    step: dict[str, Any] = {
        "stage": "sovits_train",
        "step": 40,
        "progress": 0.5,
        "message": "Epoch 4.",
        "epoch": 4,
        "loss": 0.41,
    }
    await queue.publish_event(view["task_id"], "progress", step)
    await queue.publish_event(view["task_id"], "progress", {**step, "epoch_loss": 0.4})
    await queue.publish_event(view["task_id"], "progress", {"stage": "asr", "progress": 0.5, "message": "No numbers."})
    await api.client.post(f"/api/v2/training/{view['task_id']}/stop")
    received = await asyncio.wait_for(listening, 10)
    again = await listen(api.client, f"/api/v2/training/{view['task_id']}/logs")

    kinds = [kind for kind, _ in received]
    lines = [line for _, line in received]
    assert watched == 1
    assert kinds[-1] == "cancelled"
    for line in lines:
        assert line["level"] in ("INFO", "WARNING", "ERROR")
        assert isinstance(line["message"], str)
        assert TIME.fullmatch(line["timestamp"])
    assert lines[0]["message"] == "sovits_train started."
    assert "stage" not in lines[0]
    numbers, end_of_epoch = [line for line in lines if "metrics" in line]
    assert (numbers["step"], numbers["stage"], end_of_epoch["stage"]) == (40, "training", "epoch_end")
    assert {name: numbers["metrics"][name] for name in ("epoch", "train_loss")} == {"epoch": 4, "train_loss": 0.41}
    assert set(METRICS) <= set(numbers["metrics"])
    assert (lines[-1]["stage"], lines[-1]["status"], bool(lines[-1]["message"])) == ("completed", "cancelled", True)
    assert [line["message"] for _, line in again] == [line["message"] for line in lines]


async def test_the_log_of_a_running_task_comes_at_once_as_an_array(
    client: httpx.AsyncClient, recording: str, api_services: ApiServices
) -> None:
    view = await start(client, recording)
    experiment = await api_services.records.experiments.get(view["exp_id"])
    for level in ("INFO", "WARNING", "ERROR", "DEBUG"):
        await api_services.experiments.notifier.log(experiment, f"A line of {level}.", level=level)

    response = await client.get(f"/api/v2/tasks/{view['task_id']}/logs")

    lines = data(response)
    assert response.headers["content-type"].startswith("application/json")
    assert [(line["level"], line["message"]) for line in lines] == [
        ("INFO", "A line of INFO."),
        ("WARNING", "A line of WARNING."),
        ("ERROR", "A line of ERROR."),
        ("INFO", "A line of DEBUG."),
    ]
    assert {frozenset(line) for line in lines} == {frozenset(("timestamp", "level", "message"))}


# What paths name


async def test_a_training_on_a_url_begins_at_once_and_its_job_downloads(
    api: Api, records: Records, queue: AsyncQueue
) -> None:
    async with serving({"/set.zip": b""}) as (base, requests):
        view = await start(api.client, f"{base}/set.zip?signed=1", val_path="")

    experiment = await records.experiments.get(view["exp_id"])
    job = await queue.job(f"{experiment.id}.convert.1")
    assert requests == []
    assert experiment.dataset_id is not None
    version = await records.dataset_versions.get(experiment.dataset_id, 1)
    shown = (await api.client.get(f"/api/v1/datasets/{experiment.dataset_id}/versions")).json()["items"][0]
    assert (version.made_by, version.request) == ("import", {"urls": [f"{base}/set.zip?signed=1"]})
    assert "urls" not in shown["request"], "an address may hold a secret"
    assert job is not None
    assert job.pending_dependencies == 1


async def test_recordings_in_a_zip_become_a_data_set(api: Api, records: Records) -> None:
    archive = zipped({"a.wav": tone(2.0), "b.wav": tone(3.0)})
    file = (await api.client.post("/api/v1/files", files={"file": ("set.zip", archive)})).json()

    view = await start(api.client, file["id"])

    experiment = await records.experiments.get(view["exp_id"])
    assert experiment.dataset_id is not None
    assert (await records.dataset_versions.get(experiment.dataset_id, 1)).made_by == "import"


async def test_a_text_is_no_recording(api: Api, records: Records) -> None:
    file = (await api.client.post("/api/v1/files", files={"file": ("story.txt", b"Once upon a time.")})).json()

    training = await api.client.post("/api/v2/training/start", json={**TRAINING, "train_path": file["id"]})
    quick = await api.client.post("/api/v1/tasks", json={"exp_name": "a", "audio_file_id": file["id"]})
    expert = await api.client.post("/api/v1/experiments", json={"exp_name": "a", "audio_file_id": file["id"]})

    assert [response.status_code for response in (training, quick, expert)] == [404, 404, 404]
    assert (await records.tasks.page()).total == 0


# Preparation


PREPARATIONS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("split", "input_path", {"train_ratio": 0.7, "val_ratio": 0.2}, {"val": 0.2, "test": 0.1}),
    ("split", "input_path", {}, {"val": 0.2, "test": 0.1}),
    ("split", "input_path", {"train_ratio": 1, "val_ratio": 0}, {"val": 0.0, "test": 0.0}),
    (
        "augment",
        "dataset_path",
        {"methods": ["CLAHE", "ColorJitter", "GaussNoise", "ISONoise", "AdvancedBlur", "Sharpen"]},
        {"kinds": ["loudness", "pitch", "tempo", "noise", "room", "treble"]},
    ),
    (
        "crop",
        "input_path",
        {"x": 100, "y": 100, "width": 5000, "height": 500},
        {"start_seconds": 0.1, "end_seconds": 5.1},
    ),
]


@pytest.mark.parametrize(("kind", "field", "fields", "options"), PREPARATIONS)
async def test_recordings_are_prepared_as_a_new_data_set(
    client: httpx.AsyncClient,
    recording: str,
    records: Records,
    queue: AsyncQueue,
    kind: str,
    field: str,
    fields: dict[str, Any],
    options: dict[str, Any],
) -> None:
    body = {field: recording, "output_path": "data/set", "priority": 8, "description": "one", **fields}

    view = data(await client.post(f"/api/v2/preprocessing/{kind}", json=body))

    version = await records.dataset_versions.get(view["dataset_id"], 1)
    job = await queue.job(view["task_id"])
    assert (view["task_type"], view["kind"], view["status"], view["progress"]) == ("preprocessing", kind, "pending", 0)
    assert (view["device"], view["priority"], view["description"]) == ("cpu", 8, "one")
    assert TIME.fullmatch(view["created_at"])
    assert TIME.fullmatch(view["updated_at"])
    assert {name: version.request["options"][name] for name in options} == options
    assert version.request["sources"][0]["file_id"] == recording
    assert (await records.datasets.get(view["dataset_id"])).name == "data/set"
    assert job is not None
    assert job.priority == 8
    assert data(await client.get(f"/api/v2/preprocessing/{view['task_id']}")) == view
    assert data(await client.get(f"/api/v2/tasks/{view['task_id']}")) == view


BAD_PREPARATIONS: list[tuple[str, dict[str, Any], int, str]] = [
    ("split", {"train_ratio": 0.0, "val_ratio": 1.0}, 400, "train_ratio"),
    ("split", {"train_ratio": 0.6, "val_ratio": 0.5}, 400, "more than 1 together"),
    ("split", {"val_ratio": -0.1}, 400, "val_ratio"),
    ("split", {"output_path": None}, 400, "output_path"),
    ("split", {"input_path": None}, 400, "input_path"),
    ("augment", {"methods": []}, 400, "methods"),
    ("augment", {"methods": ["Nonsense"]}, 400, "methods"),
    ("augment", {"methods": "CLAHE"}, 400, "methods"),
    ("crop", {"x": -1, "width": 10}, 400, "x"),
    ("crop", {"x": 0, "width": 0}, 400, "width"),
    ("crop", {"input_path": "file-none", "x": 0, "width": 10}, 404, "file-none"),
    ("crop", {"x": 0, "width": 10, "enable_upload": True, "upload_url": "http://10.0.0.1/"}, 400, "public address"),
    ("split", {"priority": 0}, 400, "priority"),
]


async def test_bad_preparations_are_400(client: httpx.AsyncClient, recording: str, records: Records) -> None:
    for kind, change, status, message in BAD_PREPARATIONS:
        body = {"input_path": recording, "dataset_path": recording, "output_path": "x", **change}

        response = await client.post(f"/api/v2/preprocessing/{kind}", json=body)

        data(response, status)
        assert message in response.json()["msg"], change
    assert (await records.datasets.page()).total == 0


async def test_a_preparation_is_cancelled_and_deleted(
    client: httpx.AsyncClient, recording: str, records: Records
) -> None:
    body = {"input_path": recording, "output_path": "x"}
    view = data(await client.post("/api/v2/preprocessing/split", json=body))
    path = f"/api/v2/tasks/{view['task_id']}"

    stopped = data(await client.post(f"{path}/cancel"))
    now = data(await client.get(path))
    again = data(await client.post(f"{path}/cancel"))
    log = await listen(client, f"/api/v2/preprocessing/{view['task_id']}/logs")
    deleted = data(await client.delete(path))

    assert stopped == {"status": "success", "message": "The task is cancelled.", "task_id": view["task_id"]}
    assert (now["status"], again["status"]) == ("cancelled", "error")
    assert [(line["level"], line["message"]) for _, line in log] == [("INFO", "Cancelled.")]
    assert deleted["status"] == "success"
    assert (await records.datasets.page()).total == 0


# Inference


async def test_a_text_is_spoken_and_shown_in_the_list(
    client: httpx.AsyncClient, voice: VoiceRecord, queue: AsyncQueue, tone_workers: ToneWorkers
) -> None:
    body = {**SPEECH, "save_path": None, "name": None, "device": "cuda", "description": "one", "enable_upload": False}

    view = data(await client.post("/api/v2/inference/start", json=body))
    listed = data(await client.get("/api/v2/tasks"))

    job = await queue.job(view["task_id"])
    assert (view["task_type"], view["priority"], view["description"], view["res"]) == ("inference", 3, "one", None)
    assert view["status"] in ("pending", "running")
    assert view["device"] == "cpu"
    assert "There is no GPU" in view["message"]
    assert view["warnings"] == ["There is no GPU: it runs on the CPU."]
    assert job is not None
    assert job.priority == 3
    assert [item["task_id"] for item in listed["inference_tasks"]] == [view["task_id"]]
    assert (listed["total_training"], listed["total_inference"]) == (0, 1)


async def test_a_finished_inference_names_its_audio(
    client: httpx.AsyncClient, voice: VoiceRecord, api_services: ApiServices
) -> None:
    view = data(await client.post("/api/v2/inference/start", json=SPEECH))
    queue, task_id = api_services.queue, view["task_id"]
    key = f"inference/{task_id}/audio.wav"
    api_services.storage.put_bytes(key, tone(1.5))
    result = {
        **{"audio": key, "format": "wav", "media_type": "audio/wav", "sample_rate": 32000, "seconds": 1.5},
        **{"size_bytes": 1, "sha256": "0" * 64, "utterances": []},
    }
    for role, outcome in (("splitter", {"utterances": []}), ("files", result)):
        lease = await queue.claim(role, f"{role}-1", 5.0)
        assert lease is not None
        await queue.ack(lease, outcome)

    done = data(await client.get(f"/api/v2/inference/{task_id}"))
    audio = await client.get(done["res"]["audio_url"])

    assert (done["status"], done["progress"]) == ("completed", 100)
    assert done["res"] == {
        "audio_url": f"http://localhost/api/v1/inference/{task_id}/audio",
        "text": SPEECH["source_path"],
        "duration_seconds": 1.5,
        "sample_rate": 32000,
    }
    assert audio.content == tone(1.5)


async def test_a_batch_is_one_task_per_source(client: httpx.AsyncClient, voice: VoiceRecord) -> None:
    body = {"cfg_path": "Allison", "weight_path": "Allison", "source_paths": ["One.", "Two.", "Three."]}

    started = data(await client.post("/api/v2/inference/batch", json=body))
    views = [data(await client.get(f"/api/v2/inference/{task_id}")) for task_id in started["task_ids"]]

    assert (started["status"], started["message"], started["total"]) == ("success", "已启动 3 个推理任务", 3)
    assert len(set(started["task_ids"])) == 3
    assert {view["priority"] for view in views} == {3}
    assert data(await client.get("/api/v2/tasks"))["total_inference"] == 3


async def test_another_checkpoint_speaks_or_the_voices_own_with_a_warning(
    client: httpx.AsyncClient, voice: VoiceRecord, records: Records, queue: AsyncQueue
) -> None:
    await make_checkpoint(records, "ckpt-better", "gpt")

    own = data(await client.post("/api/v2/inference/start", json=SPEECH))
    better = data(await client.post("/api/v2/inference/start", json={**SPEECH, "weight_path": "ckpt-better"}))
    unknown = data(await client.post("/api/v2/inference/start", json={**SPEECH, "weight_path": "models/best.pth"}))

    split = await queue.job(f"{better['task_id']}.split")
    assert split is not None
    assert split.payload["gpt_checkpoint_id"] == "ckpt-better"
    assert ("warnings" in own, "warnings" in better) == ("warnings" in better, "warnings" in own)
    assert unknown["warnings"][-1] == "weight_path is 'models/best.pth', which is no checkpoint: the voice's own speak."


async def test_texts_come_from_uploads_and_urls(api: Api, voice: VoiceRecord, queue: AsyncQueue) -> None:
    texts = zipped({"2.txt": "Second.".encode("utf-8-sig"), "1.txt": b"First."})
    single = (await api.client.post("/api/v1/files", files={"file": ("story.txt", "Once, 故事.".encode())})).json()
    several = (await api.client.post("/api/v1/files", files={"file": ("stories.zip", texts)})).json()

    async with serving({"/story.txt": b"From a URL."}) as (base, _):
        body = {**SPEECH, "source_paths": [single["id"], several["id"], f"{base}/story.txt", "file-none"]}
        started = data(await api.client.post("/api/v2/inference/batch", json=body))

    splits = [await queue.job(f"{task_id}.split") for task_id in started["task_ids"]]
    assert [split.payload["text"] for split in splits if split] == [
        "Once, 故事.",
        "First.\nSecond.",
        "From a URL.",
        "file-none",
    ]


BAD_SPEECH: list[tuple[str, dict[str, Any], int, str]] = [
    ("start", {"source_path": ""}, 400, "source_path"),
    ("start", {"source_path": "   "}, 400, "empty"),
    ("start", {"cfg_path": "Nobody"}, 404, "Nobody"),
    *(("start", {name: None}, 400, name) for name in ("cfg_path", "weight_path", "source_path")),
    ("start", {"priority": 0}, 400, "priority"),
    ("start", {"device": "x"}, 400, "device"),
    ("start", {"source_path": "http://10.0.0.1/a.txt"}, 400, "not a public address"),
    ("start", {"source_path": "file-a"}, 400, "recording"),
    ("start", {"enable_upload": True}, 400, "upload_url"),
    ("batch", {"source_paths": []}, 400, "source_paths"),
    ("batch", {"source_paths": ["Good.", " "]}, 400, "empty"),
    ("batch", {"source_paths": "One."}, 400, "source_paths"),
]


async def test_bad_speech_is_400_and_nothing_begins(
    client: httpx.AsyncClient, voice: VoiceRecord, recording: str
) -> None:
    for path, change, status, message in BAD_SPEECH:
        body = {**SPEECH, "source_paths": ["Good."], **change}

        response = await client.post(f"/api/v2/inference/{path}", json=body)

        data(response, status)
        assert message in response.json()["msg"], change
    assert data(await client.get("/api/v2/tasks"))["total_inference"] == 0


async def test_an_inference_is_cancelled_and_deleted(client: httpx.AsyncClient, voice: VoiceRecord) -> None:
    view = data(await client.post("/api/v2/inference/start", json=SPEECH))
    path = f"/api/v2/tasks/{view['task_id']}"

    stopped = data(await client.post(f"{path}/cancel"))
    now = data(await client.get(path))
    again = data(await client.post(f"{path}/cancel"))
    deleted = data(await client.delete(path))

    assert (stopped["status"], now["status"], again["status"], deleted["status"]) == (
        *("success", "cancelled", "error", "success"),
    )
    assert data(await client.get(path), 404)["error"]["code"] == "not_found"
    assert data(await client.get("/api/v2/tasks"))["total_inference"] == 0


# Tasks, resources, results


async def test_a_training_is_cancelled_and_deleted(client: httpx.AsyncClient, recording: str, records: Records) -> None:
    view = await start(client, recording)

    stopped = data(await client.post(f"/api/v2/tasks/{view['task_id']}/cancel"))
    deleted = data(await client.delete(f"/api/v2/tasks/{view['task_id']}"))

    assert stopped == {"status": "success", "message": "The task is cancelled.", "task_id": view["task_id"]}
    assert deleted == {"status": "success", "message": "The task is deleted.", "task_id": view["task_id"]}
    assert (await records.experiments.page()).total == 0


async def test_without_a_gpu_there_are_none(client: httpx.AsyncClient) -> None:
    gpus = data(await client.get("/api/v2/resources/gpu"))
    usage = data(await client.get("/api/v2/resources"))

    assert re.match(r"\d+\.\d+", gpus["pytorch_version"])
    assert gpus == {
        **{"available": False, "count": 0, "cuda_version": None, "devices": []},
        "pytorch_version": gpus["pytorch_version"],
    }
    assert usage == {
        "device_usage": {"cpu": {"training": 0, "inference": 0}},
        "active_tasks": {"cpu": []},
        "limits": {"cpu": {"training": 2, "inference": 4}},
        "gpu_info": gpus,
    }


async def test_gpus_and_what_runs_on_them_are_shown(
    client: httpx.AsyncClient, recording: str, queue: AsyncQueue, api_services: ApiServices
) -> None:
    gpu = GpuInfo("one", 0, "cuda:0", "RTX 3090", "GPU-1", 24576, 20480, "8.6", 37.0)
    await api_services.limits.report_host(HostInfo("one", 16, 64000, [gpu], cuda_version="12.4"))
    await queue.register_worker("trainer-1", "trainer", "one", 1, "cuda:0")
    view = await start(client, recording, device="cuda:0", task_id="mine")
    await complete_preparation(api_services, view["exp_id"])
    await queue.claim("trainer", "trainer-1", 5.0, WorkerLocation("one", "cuda:0"))

    gpus = data(await client.get("/api/v2/resources/gpu"))
    usage = data(await client.get("/api/v2/resources"))
    info = (await client.get("/api/v1/info")).json()

    assert (gpus["available"], gpus["count"], gpus["cuda_version"]) == (True, 1, "12.4")
    assert gpus["devices"] == [
        {
            "id": 0,
            "device_name": "cuda:0",
            "name": "RTX 3090",
            "compute_capability": "8.6",
            "total_memory_gb": 24.0,
            "allocated_memory_gb": 4.0,
            "cached_memory_gb": 0.0,
            "free_memory_gb": 20.0,
            "utilization": 37.0,
            "current_tasks": {"training": 1, "inference": 0},
            "host": "one",
        }
    ]
    assert usage["device_usage"] == {
        "cpu": {"training": 0, "inference": 0},
        "cuda:0": {"training": 1, "inference": 0},
    }
    assert usage["active_tasks"] == {"cpu": [], "cuda:0": [{"id": "mine", "type": "training"}]}
    assert usage["limits"]["cuda:0"] == {"training": 1, "inference": 3}
    assert info["gpu_available"] is True


async def test_limits_are_changed_for_devices_that_exist(client: httpx.AsyncClient) -> None:
    changed = data(
        await client.post("/api/v2/resources/config", json={"max_concurrent": {"cpu": {"training": 7}}, "other": 1})
    )
    bad = [
        await client.post("/api/v2/resources/config", json={"max_concurrent": limits})
        for limits in (
            {"tpu": {"training": 7}},
            {"cuda:0": {"training": 7}},
            {"cuda": {"training": 7}},
            {"cpu": {"training": -1}},
            {"cpu": {"training": "7"}},
            {},
        )
    ]

    assert changed == {
        "status": "success",
        "message": "资源配置已更新",
        "current_config": {"cpu": {"training": 7, "inference": 4}},
    }
    assert [response.status_code for response in bad] == [400] * 6
    assert data(await client.get("/api/v2/resources"))["limits"]["cpu"] == {"training": 7, "inference": 4}


async def test_health_and_info_are_in_and_out_of_the_envelope(
    client: httpx.AsyncClient, tone_workers: ToneWorkers
) -> None:
    health = (await client.get("/api/v1/health")).json()
    info = (await client.get("/api/v1/info")).json()

    for body in (health, info):
        fields = {name: value for name, value in body.items() if name not in ("code", "msg", "data")}
        assert (body["code"], body["msg"]) == (200, "")
        assert body["data"] == fields
    assert (health["status"], health["training_tasks"], health["inference_tasks"]) == ("healthy", 0, 0)
    assert health["resource_status"] == {"gpu_available": False, "gpu_count": 0}
    assert TIME.fullmatch(health["timestamp"])
    assert (info["app_name"], info["environment"]) == ("sovitsd", "production")
    assert "nano" in info["supported_models"]
    assert info["resource_limits"]["max_training_concurrent_cpu"] == 2


async def test_names_and_priorities_come_from_the_settings(
    settings: Settings, records: Records, recording: str
) -> None:
    changes = {
        "app_name": "Classifier",
        "environment": "development",
        "supported_models": ("resnet18", "nano"),
        "default_train_priority": 6,
        "default_inference_priority": 2,
    }
    await make_voice(records, "Allison")
    async with running(settings.model_copy(update=changes)) as api:
        info = (await api.client.get("/api/v1/info")).json()["data"]
        training = await start(api.client, recording)
        speech = data(await api.client.post("/api/v2/inference/start", json=SPEECH))

    assert (info["app_name"], info["environment"]) == ("Classifier", "development")
    assert info["supported_models"] == ["resnet18", "nano"]
    assert (training["priority"], speech["priority"]) == (6, 2)


async def test_results_are_sent_when_all_is_done(
    client: httpx.AsyncClient, voice: VoiceRecord, recording: str, records: Records, queue: AsyncQueue
) -> None:
    url = "http://127.0.0.1/put?signature=s"
    send: dict[str, Any] = {"enable_upload": True, "upload_url": url, "token": "secret"}
    spoken = data(await client.post("/api/v2/inference/start", json={**SPEECH, **send}))
    split = {"input_path": recording, "output_path": "x", **send}
    prepared = data(await client.post("/api/v2/preprocessing/split", json=split))
    trained = await start(client, recording, **send)
    ignored = await start(client, recording, upload_url=url)

    for view in (spoken, prepared):
        job = await queue.job(f"{view['task_id']}.upload")
        assert job is not None
        request = ResultUploadRequest.model_validate(job.payload)
        assert (request.of, request.url, job.pending_dependencies) == (view["task_id"], url, 1)
        assert request.token.startswith("fernet:")
    assert await queue.job(f"{trained['task_id']}.upload") is None, "it begins when the task is completed"
    task = await records.tasks.get(trained["task_id"])
    assert task.upload_url == url
    assert task.labels["upload_token"].startswith("fernet:")
    assert (trained["upload"]["status"], ignored["upload"]) == ("waiting", None)


async def test_a_failed_upload_does_not_fail_the_task_and_is_told(
    client: httpx.AsyncClient, voice: VoiceRecord, queue: AsyncQueue
) -> None:
    send = {"enable_upload": True, "upload_url": "http://127.0.0.1/put"}
    view = data(await client.post("/api/v2/inference/start", json={**SPEECH, **send}))
    await queue.cancel(f"{view['task_id']}.split")
    await queue.cancel(view["task_id"])
    lease = await queue.claim("files", "files-1", 5.0)
    assert lease is not None
    assert lease.job.id == f"{view['task_id']}.upload"
    await queue.fail(lease, {"code": "upload_refused", "message": "The address answered 403."}, permanent=True)

    now = data(await client.get(f"/api/v2/inference/{view['task_id']}"))

    assert now["status"] == "cancelled"
    assert "The results were not sent: The address answered 403." in now["message"]


async def test_a_completed_training_has_its_voice_sent(
    client: httpx.AsyncClient, recording: str, records: Records, queue: AsyncQueue, api_services: ApiServices
) -> None:
    url = "http://127.0.0.1/put"
    view = await start(client, recording, enable_upload=True, upload_url=url)
    for kind in ("gpt", "sovits"):
        await make_checkpoint(records, f"ckpt-{kind}", kind)
    prompt = {"audio": "experiments/x/prompt.wav", "text": "Hi.", "language": "en"}
    api_services.storage.put_bytes(prompt["audio"], tone(3.0))
    outputs: dict[str, dict[str, Any]] = {
        "asr": {"prompt": prompt},
        "gpt_train": {"checkpoint_id": "ckpt-gpt"},
        "sovits_train": {"checkpoint_id": "ckpt-sovits"},
    }
    async with records.experiments.transaction(view["exp_id"]) as change:
        for stage in (*PREPARING_STAGES, "sovits_train", "gpt_train"):
            change.set_stage(stage, status=StageStatus.COMPLETED, run=1, work_run=1, outputs=outputs.get(stage, {}))

    await api_services.experiments.scheduler.advance(view["exp_id"])

    job = await queue.job(f"{view['task_id']}.upload")
    assert job is not None
    assert ResultUploadRequest.model_validate(job.payload) == ResultUploadRequest(of=view["task_id"], url=url)
    assert (await records.tasks.get(view["task_id"])).status is TaskStatus.COMPLETED
    now = data(await client.get(f"/api/v2/training/{view['task_id']}"))
    assert (now["status"], now["progress"], now["upload"]["status"]) == ("completed", 100, "waiting")


PREPARING_STAGES = ("convert", "audio_slice", "denoise", "asr", "text_feature", "hubert_feature", "semantic_token")


async def complete_preparation(services: ApiServices, exp_id: str) -> None:
    """As if workers had prepared everything: both trainings wait for theirs."""
    async with services.records.experiments.transaction(exp_id) as change:
        for stage in PREPARING_STAGES:
            change.set_stage(stage, status=StageStatus.COMPLETED, progress=1.0, run=1, work_run=1)
    await services.experiments.scheduler.advance(exp_id)


async def make_checkpoint(records: Records, checkpoint_id: str, kind: str) -> None:
    await records.checkpoints.create(
        NewCheckpointRecord(id=checkpoint_id, kind=kind, version="nano", sha256="0" * 64, size_bytes=1)
    )


async def listen(client: httpx.AsyncClient, path: str) -> list[tuple[str, dict[str, Any]]]:
    """Every (kind, data) until the stream ends."""
    events, kind = [], ""
    async with client.stream("GET", path) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((kind, orjson.loads(line.removeprefix("data: "))))
    return events


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@asynccontextmanager
async def serving(responses: dict[str, bytes]) -> AsyncIterator[tuple[str, list[tuple[str, bytes]]]]:
    """Yield a server of these files; its address and what was sent to it."""
    received: list[tuple[str, bytes]] = []

    async def response(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target = head.split(" ", 2)[:2]
        received.append((method, b""))
        body = responses.get(target.partition("?")[0])
        status = "404 Not Found" if body is None else "200 OK"
        content = body or b""
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(response, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", received
