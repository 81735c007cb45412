"""The model service's API: everything in an envelope, whatever it is and however it ends."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import orjson
import pytest
from api_support import Api, eventually, gauge_value, running, tone

from api.dependencies import ApiServices
from core.jobs.job import Job
from core.jobs.queue import AsyncQueue
from core.records import NewCheckpointRecord, NewFileRecord, Records, TaskStatus, VoiceRecord
from core.records.models.voices import VoicePrompt
from core.settings import Settings
from core.speech.result_uploads import ResultUploadRequest
from core.stages.status import StageStatus


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
    return body["data"]


async def start(client: httpx.AsyncClient, recording: str | list[str], **more: Any) -> Any:
    body = {"exp_name": "bob", "inputs": recording, "version": "nano", "language": "en", **more}
    return data(await client.post("/api/v2/training/start", json=body))


# Trainings


async def test_a_training_begins_under_the_names_of_the_service(
    client: httpx.AsyncClient, recording: str, records: Records, queue: AsyncQueue
) -> None:
    view = await start(client, recording, epochs=3, batch_size=2, device="cpu")

    task = await records.tasks.get(view["id"])
    experiment = await records.experiments.get(task.exp_id)
    assert (view["status"], view["progress"], view["stage"]) == ("queued", 0.0, "convert")
    assert (view["current_epoch"], view["total_epochs"], view["latest_metrics"]) == (0, 3, {})
    assert (view["duration"], view["device"], view["priority"], view["upload"]) == (0.0, "cpu", 5, None)
    assert experiment.parameters["gpt_train"] == {"total_epoch": 3, "batch_size": 2}
    assert data(await client.get(f"/api/v2/training/{view['id']}")) == view
    assert await queue.job(f"{task.exp_id}.convert.1") is not None


async def test_the_numbers_of_a_training_are_those_of_the_stage_that_trains(
    client: httpx.AsyncClient, recording: str, records: Records, api_services: ApiServices
) -> None:
    view = await start(client, recording)
    async with records.experiments.transaction(view["exp_id"]) as change:
        for stage in ("convert", "audio_slice", "denoise", "asr", "text_feature", "hubert_feature", "semantic_token"):
            change.set_stage(stage, status=StageStatus.COMPLETED, progress=1.0, run=1, work_run=1)
    await api_services.experiments.scheduler.advance(view["exp_id"])
    await api_services.experiments.runs.start(view["exp_id"], "sovits_train", 1)
    await api_services.experiments.runs.update_progress(
        view["exp_id"], "sovits_train", 1, 0.5, "Epoch 4 of 8.", epoch=4, total_epochs=8, loss=0.41
    )

    now = data(await client.get(f"/api/v2/training/{view['id']}"))

    assert (now["status"], now["stage"], now["current_epoch"], now["total_epochs"]) == ("running", "sovits_train", 4, 8)
    assert now["latest_metrics"]["loss"] == 0.41
    assert 0 < now["progress"] < 100
    assert now["duration"] > 0


async def test_a_training_is_stopped(client: httpx.AsyncClient, recording: str) -> None:
    view = await start(client, recording)

    stopped = data(await client.post(f"/api/v2/training/{view['id']}/stop"))

    assert stopped["status"] == "cancelled"
    assert stopped["completed_at"] is not None


REFUSED_TRAININGS: list[tuple[dict[str, Any], int, str]] = [
    ({"exp_name": ""}, 422, "exp_name"),
    ({"colour": "red"}, 422, "'colour'"),
    ({"inputs": []}, 422, "one thing"),
    ({"dataset_id": "ds-1"}, 422, "one thing"),
    ({"inputs": ["file-none"]}, 404, "file-none"),
    ({"inputs": "ftp://example.org/a.wav"}, 400, "refused"),
    ({"inputs": "http://169.254.169.254/latest"}, 400, "not a public address"),
    ({"inputs": "http://10.0.0.1/a.wav"}, 400, "not a public address"),
    ({"epochs": 101}, 422, "epochs"),
    ({"batch_size": 0}, 422, "batch_size"),
    ({"priority": 11}, 422, "priority"),
    ({"device": "tpu"}, 422, "device"),
    ({"version": "v9"}, 422, "version"),
    ({"language": "klingon"}, 422, "language"),
    ({"parameters": {"gpt_train": {"colour": 1}}}, 422, "'colour'"),
    ({"parameters": {"fly": {}}}, 404, "fly"),
    ({"enable_upload": True}, 422, "upload_url"),
    ({"enable_upload": True, "upload_url": "file:///etc/passwd"}, 400, "refused"),
    ({"enable_upload": True, "upload_url": "http://127.0.0.2/x"}, 400, "not a public address"),
    ({"webhook_url": "http://10.0.0.1/"}, 400, "not a public address"),
    ({"schedule_at": "2001-01-01T00:00:00Z"}, 400, "passed"),
]


async def test_what_cannot_be_is_rejected_in_the_envelope(
    client: httpx.AsyncClient, recording: str, records: Records
) -> None:
    for change, status, message in REFUSED_TRAININGS:
        body = {"exp_name": "bob", "inputs": [recording], "version": "nano", **change}

        response = await client.post("/api/v2/training/start", json=body)

        assert data(response, status)["error"]["code"]
        assert message in response.json()["msg"], change
    assert (await records.tasks.page()).total == 0


UNKNOWN = [
    ("GET", "/training/task-none"),
    ("POST", "/training/task-none/stop"),
    ("GET", "/training/task-none/logs"),
    ("GET", "/preprocessing/ds-none.1"),
    ("GET", "/preprocessing/none/logs"),
    ("GET", "/inference/infer-none"),
    ("GET", "/inference/batch-none"),
    *((method, f"/tasks/{id_}") for id_ in ("task-none", "infer-none", "ds-none.1") for method in ("GET", "DELETE")),
    *(("POST", f"/tasks/{id_}/cancel") for id_ in ("task-none", "infer-none", "batch-none", "ds-none.1")),
    ("GET", "/tasks/none/logs"),
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
        method = await api.client.put("/api/v2/tasks", headers=key)
        broken = await api.client.post(
            "/api/v2/training/start", content=b"{half", headers={**key, "Content-Type": "application/json"}
        )
        large = await api.client.post("/api/v2/training/start", json={"exp_name": "x" * (5 << 20)}, headers=key)
        existing = await api.client.get("/api/v2/tasks", headers=key)

    assert data(missing, 401)["error"]["code"] == "unauthorized"
    assert data(method, 405)["error"]["code"] == "not_allowed"
    assert data(broken, 400)["error"]["code"] == "invalid_request"
    assert data(large, 413)["error"]["code"] == "file_too_large"
    assert data(existing) == {"training_tasks": [], "inference_tasks": [], "total_training": 0, "total_inference": 0}


async def test_the_same_idempotency_key_begins_one_training(client: httpx.AsyncClient, recording: str) -> None:
    body = {"exp_name": "bob", "inputs": recording, "idempotency_key": "k1"}

    responses = [await client.post("/api/v2/training/start", json=body) for _ in range(2)]

    assert len({data(response)["id"] for response in responses}) == 1
    assert data(await client.get("/api/v2/tasks"))["total_training"] == 1


async def test_the_log_of_a_training_streams_lines_and_numbers_and_the_end(api: Api, recording: str) -> None:
    view = await start(api.client, recording)
    queue = api.services.queue
    experiment = await api.services.records.experiments.get(view["exp_id"])
    await api.services.experiments.notifier.log(experiment, "sovits_train started.", stage="sovits_train")
    listening = asyncio.create_task(listen(api.client, f"/api/v2/training/{view['id']}/logs"))
    await eventually(lambda: gauge_value(api.services.metrics.watchers) == 1)

    step = {"stage": "sovits_train", "step": 40, "progress": 0.5, "message": "Epoch 4.", "epoch": 4, "loss": 0.41}
    await queue.publish_event(view["id"], "progress", step)
    await queue.publish_event(view["id"], "progress", {"stage": "asr", "progress": 0.5, "message": "No numbers."})
    await api.client.post(f"/api/v2/training/{view['id']}/stop")
    received = await asyncio.wait_for(listening, 10)
    again = await listen(api.client, f"/api/v2/training/{view['id']}/logs")

    kinds = [kind for kind, _ in received]
    lines = [line for kind, line in received if kind == "log"]
    assert kinds[-1] == "cancelled"
    assert lines[0]["message"] == "sovits_train started."
    assert {"timestamp", "level", "message", "stage"} <= set(lines[0])
    [numbers] = [line for line in lines if "metrics" in line]
    assert (numbers["metrics"], numbers["step"], numbers["stage"]) == ({"epoch": 4, "loss": 0.41}, 40, "sovits_train")
    assert again == received


async def test_a_url_is_read_and_its_audio_trained_on(api: Api, records: Records) -> None:
    async with serving({"/voice.wav": tone(3.0)}) as (base, _):
        view = await start(api.client, f"{base}/voice.wav?signed=1")

    task = await records.tasks.get(view["id"])
    assert task.audio_file_id is not None
    file = await records.files.get(task.audio_file_id)
    assert (file.filename, file.duration_seconds) == ("voice.wav", pytest.approx(3.0, abs=0.01))


async def test_a_zip_behind_a_url_becomes_a_data_set_that_the_training_waits_for(
    api: Api, records: Records, queue: AsyncQueue
) -> None:
    async with serving({"/set.zip": zipped({"a.wav": tone(2.0), "b.wav": tone(3.0)})}) as (base, _):
        view = await start(api.client, [f"{base}/set.zip"])

    experiment = await records.experiments.get(view["exp_id"])
    job = await queue.job(f"{experiment.id}.convert.1")
    assert experiment.dataset_id is not None
    assert (await records.dataset_versions.get(experiment.dataset_id, 1)).made_by == "import"
    assert job is not None
    assert job.pending_dependencies == 1


async def test_what_a_url_brings_is_looked_into(api: Api, records: Records) -> None:
    responses = {"/text.wav": b"only words" * 100, "/bomb.zip": b"PK\x03\x04" + b"broken" * 100}
    async with serving(responses) as (base, _):
        for path, message in (("/none.wav", "404"), ("/text.wav", "sound"), ("/bomb.zip", "archive")):
            body = {"exp_name": "a", "inputs": base + path}
            response = await api.client.post("/api/v2/training/start", json=body)

            assert data(response, 400)["error"]["code"]
            assert message in response.json()["msg"]
    assert (await records.tasks.page()).total == (await records.files.page()).total == 0
    assert not list(api.settings.storage_root.glob(".tmp/*"))


# Preprocessing


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("split", {"val": 0.2, "test": 0.1}),
        ("augment", {"kinds": ["noise", "pitch"], "copies": 2}),
        ("crop", {"start_seconds": 0.5, "end_seconds": 1.5}),
    ],
)
async def test_recordings_are_prepared_as_a_new_data_set(
    client: httpx.AsyncClient, recording: str, records: Records, queue: AsyncQueue, kind: str, options: dict[str, Any]
) -> None:
    body = {"inputs": [recording], "name": "set", "priority": 8, **options}

    view = data(await client.post(f"/api/v2/preprocessing/{kind}", json=body))

    version = await records.dataset_versions.get(view["dataset_id"], 1)
    job = await queue.job(view["id"])
    assert (view["kind"], view["status"], view["progress"]) == (kind, "queued", 0.0)
    assert options.items() <= {name: version.request["options"][name] for name in options}.items()
    assert version.request["sources"][0]["file_id"] == recording
    assert job is not None
    assert job.priority == 8
    assert data(await client.get(f"/api/v2/preprocessing/{view['id']}")) == view
    assert data(await client.get(f"/api/v2/tasks/{view['id']}")) == view


REFUSED_PREPARATIONS: list[tuple[str, dict[str, Any], int, str]] = [
    ("split", {"val": 0.6, "test": 0.5}, 422, "something to train on"),
    ("split", {"colour": 1}, 422, "'colour'"),
    ("split", {"inputs": []}, 422, "one thing"),
    ("augment", {"kinds": ["echo"]}, 422, "kinds"),
    ("augment", {"tempo_factor": [2, 1]}, 422, "tempo_factor"),
    ("crop", {"start_seconds": 2, "end_seconds": 1}, 422, "after start_seconds"),
    ("crop", {"inputs": ["file-none"]}, 404, "file-none"),
    ("crop", {"enable_upload": True, "upload_url": "http://10.0.0.1/"}, 400, "not a public address"),
    ("split", {"device": "tpu"}, 422, "device"),
]


async def test_preparations_that_cannot_be_are_rejected(
    client: httpx.AsyncClient, recording: str, records: Records
) -> None:
    for kind, change, status, message in REFUSED_PREPARATIONS:
        response = await client.post(f"/api/v2/preprocessing/{kind}", json={"inputs": [recording], **change})

        data(response, status)
        assert message in response.json()["msg"], change
    assert (await records.datasets.page()).total == 0


async def test_a_preparation_is_cancelled_and_deleted(
    client: httpx.AsyncClient, recording: str, records: Records
) -> None:
    view = data(await client.post("/api/v2/preprocessing/split", json={"inputs": [recording]}))

    stopped = data(await client.post(f"/api/v2/tasks/{view['id']}/cancel"))
    deleted = data(await client.delete(f"/api/v2/tasks/{view['id']}"))

    assert stopped["status"] == "cancelled"
    assert deleted == {"id": view["id"], "type": "preprocessing", "status": "deleted"}
    assert (await records.datasets.page()).total == 0


# Inference


async def test_a_text_is_spoken_and_shown_in_the_list(
    client: httpx.AsyncClient, voice: VoiceRecord, queue: AsyncQueue
) -> None:
    body = {"text": "Hello there. How are you.", "voice": "Allison", "format": "mp3", "seed": 1}

    view = data(await client.post("/api/v2/inference/start", json=body))
    listed = data(await client.get("/api/v2/tasks"))

    job = await queue.job(view["id"])
    assert (view["type"], view["format"], view["priority"], view["upload"]) == ("inference", "mp3", 3, None)
    assert job is not None
    assert job.priority == 3
    assert [item["id"] for item in listed["inference_tasks"]] == [view["id"]]
    assert (listed["total_training"], listed["total_inference"]) == (0, 1)


async def test_a_batch_is_one_thing(client: httpx.AsyncClient, voice: VoiceRecord) -> None:
    body = {"items": [{"text": "One."}, {"text": "Two."}], "voice": "Allison"}

    view = data(await client.post("/api/v2/inference/batch", json=body))

    assert (view["type"], view["priority"]) == ("batch", 3)
    assert [item["filename"] for item in view["items"]] == ["001.wav", "002.wav"]
    assert data(await client.get(f"/api/v2/inference/{view['id']}")) == view
    assert data(await client.get(f"/api/v2/tasks/{view['id']}")) == view


async def test_a_text_is_spoken_in_the_manner_of_a_url(api: Api, voice: VoiceRecord, queue: AsyncQueue) -> None:
    async with serving({"/ref.wav": tone(4.0)}) as (base, _):
        body = {"text": "Hello.", "voice": "Allison", "prompt_url": f"{base}/ref.wav", "prompt_text": "Hi."}
        view = data(await api.client.post("/api/v2/inference/start", json=body))

    split = await queue.job(f"{view['id']}.split")
    assert split is not None
    assert split.payload["prompt"] == {
        "audio": f"inference/{view['id']}/prompt.wav",
        "text": "Hi.",
        "language": "auto",
    }
    assert (api.settings.storage_root / cast(VoicePrompt, split.payload["prompt"])["audio"]).is_file()


REFUSED_TEXTS: list[tuple[str, dict[str, Any], int, str]] = [
    ("start", {"text": "", "voice": "Allison"}, 400, "empty"),
    ("start", {"text": "Hello.", "voice": "Nobody"}, 404, "Nobody"),
    ("start", {"text": "Hello."}, 422, "voice"),
    ("start", {"text": "Hello.", "voice": "Allison", "priority": 0}, 422, "priority"),
    ("start", {"text": "Hello.", "voice": "Allison", "device": "x"}, 422, "device"),
    ("start", {"text": "Hello.", "voice": "Allison", "prompt_url": "http://10.0.0.1/"}, 422, "prompt_text"),
    ("start", {"text": "Hello.", "voice": "Allison", "enable_upload": True}, 422, "upload_url"),
    ("batch", {"items": [], "voice": "Allison"}, 422, "items"),
    ("batch", {"items": [{"text": "Hello."}]}, 422, "voice"),
]


async def test_texts_that_cannot_be_spoken_are_rejected(client: httpx.AsyncClient, voice: VoiceRecord) -> None:
    for path, body, status, message in REFUSED_TEXTS:
        response = await client.post(f"/api/v2/inference/{path}", json=body)

        data(response, status)
        assert message in response.json()["msg"], body
    assert data(await client.get("/api/v2/tasks"))["total_inference"] == 0


@pytest.mark.parametrize("kind", ["start", "batch"])
async def test_an_inference_is_cancelled_and_deleted(client: httpx.AsyncClient, voice: VoiceRecord, kind: str) -> None:
    body = {"text": "Hello."} if kind == "start" else {"items": [{"text": "Hello."}]}
    view = data(await client.post(f"/api/v2/inference/{kind}", json={**body, "voice": "Allison"}))

    stopped = data(await client.post(f"/api/v2/tasks/{view['id']}/cancel"))
    deleted = data(await client.delete(f"/api/v2/tasks/{view['id']}"))

    assert stopped["status"] == "cancelled"
    assert deleted["status"] == "deleted"
    assert data(await client.get(f"/api/v2/tasks/{view['id']}"), 404)["error"]["code"] == "not_found"
    assert data(await client.get("/api/v2/tasks"))["total_inference"] == 0


# Tasks, resources, results


async def test_a_training_is_cancelled_and_deleted(client: httpx.AsyncClient, recording: str, records: Records) -> None:
    view = await start(client, recording)

    stopped = data(await client.post(f"/api/v2/tasks/{view['id']}/cancel"))
    deleted = data(await client.delete(f"/api/v2/tasks/{view['id']}"))

    assert stopped["status"] == "cancelled"
    assert deleted == {"id": view["id"], "type": "training", "status": "deleted"}
    assert (await records.experiments.page()).total == 0


async def test_resources_are_shown_and_limits_changed(client: httpx.AsyncClient) -> None:
    view = data(await client.get("/api/v2/resources"))
    gpus = data(await client.get("/api/v2/resources/gpu"))
    changed = data(await client.post("/api/v2/resources/config", json={"max_concurrent": {"cpu": {"training": 7}}}))
    wrong = await client.post("/api/v2/resources/config", json={"max_concurrent": {"tpu": {"training": 7}}})

    assert {"device_usage", "active_tasks", "limits", "gpu_info"} <= set(view)
    assert gpus == {"gpus": []}
    assert changed["max_concurrent"]["cpu"]["training"] == 7
    assert data(wrong, 422)["error"]["code"] == "invalid_parameter"


async def test_results_are_sent_when_all_is_done(
    client: httpx.AsyncClient, voice: VoiceRecord, recording: str, records: Records, queue: AsyncQueue
) -> None:
    send: dict[str, Any] = {"enable_upload": True, "upload_url": "http://127.0.0.1/put?signature=s"}
    spoken = data(await client.post("/api/v2/inference/start", json={"text": "Hello.", "voice": "Allison", **send}))
    prepared = data(await client.post("/api/v2/preprocessing/split", json={"inputs": [recording], **send}))
    trained = await start(client, recording, **send)
    ignored = await start(client, recording, upload_url="http://127.0.0.1/put")

    jobs = {id_: await queue.job(f"{id_}.upload") for id_ in (spoken["id"], prepared["id"], trained["id"])}

    assert jobs[spoken["id"]] == waiting_for(spoken["id"], send["upload_url"], jobs[spoken["id"]])
    assert jobs[prepared["id"]] == waiting_for(prepared["id"], send["upload_url"], jobs[prepared["id"]])
    assert jobs[trained["id"]] is None, "it begins when the task is completed"
    assert (await records.tasks.get(trained["id"])).upload_url == send["upload_url"]
    assert (trained["upload"]["status"], ignored["upload"]) == ("waiting", None)
    assert spoken["upload"]["status"] == "delayed"


def waiting_for(id_: str, url: str, job: Job | None) -> Job | None:
    """Return the job itself, when it is the one that sends the results of `id_`."""
    assert job is not None
    request = ResultUploadRequest.model_validate(job.payload)
    return job if (request.of, request.url, job.pending_dependencies) == (id_, url, 1) else None


async def test_a_completed_training_has_its_voice_sent(
    client: httpx.AsyncClient, recording: str, records: Records, queue: AsyncQueue, api_services: ApiServices
) -> None:
    url = "http://127.0.0.1/put"
    view = await start(client, recording, enable_upload=True, upload_url=url)
    for kind in ("gpt", "sovits"):
        await records.checkpoints.create(
            NewCheckpointRecord(id=f"ckpt-{kind}", kind=kind, version="nano", sha256="0" * 64, size_bytes=1)
        )
    prompt = {"audio": "experiments/x/prompt.wav", "text": "Hi.", "language": "en"}
    api_services.storage.put_bytes(prompt["audio"], tone(3.0))
    outputs: dict[str, dict[str, Any]] = {
        "asr": {"prompt": prompt},
        "gpt_train": {"checkpoint_id": "ckpt-gpt"},
        "sovits_train": {"checkpoint_id": "ckpt-sovits"},
    }
    async with records.experiments.transaction(view["exp_id"]) as change:
        for stage in ("convert", "audio_slice", "denoise", "asr", "text_feature", "hubert_feature", "semantic_token"):
            change.set_stage(stage, status=StageStatus.COMPLETED, run=1, work_run=1, outputs=outputs.get(stage, {}))
        for stage in ("sovits_train", "gpt_train"):
            change.set_stage(stage, status=StageStatus.COMPLETED, run=1, work_run=1, outputs=outputs[stage])

    await api_services.experiments.scheduler.advance(view["exp_id"])

    job = await queue.job(f"{view['id']}.upload")
    assert job is not None
    assert ResultUploadRequest.model_validate(job.payload) == ResultUploadRequest(of=view["id"], url=url)
    assert (await records.tasks.get(view["id"])).status is TaskStatus.COMPLETED
    now = data(await client.get(f"/api/v2/training/{view['id']}"))
    assert (now["progress"], now["upload"]["status"]) == (100.0, "waiting")


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
