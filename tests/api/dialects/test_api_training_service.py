"""The eleven-step service's API: made, fed with files, run step by step, listed beside our own tasks."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from api_support import Api, tone
from placeholder_weights import install_version

from api.dependencies import ApiServices
from core.ids import new_id
from core.jobs.queue import AsyncQueue
from core.records import NewCheckpointRecord, NewFileRecord, Records
from core.settings import Settings
from core.stages.stage import STAGES
from core.stages.status import StageStatus

CONFIG = {"exp_name": "bob", "version": "nano", "language": "en", "batch_size": 2, "epochs_s2": 3, "epochs_s1": 4}
SHIFTED = {"min_length": -34, "min_interval": 4000, "hop_size": 300, "max_sil_kept": 10, "_max": 500, "alpha": 0.9}


@pytest.fixture
def api_services(client: httpx.AsyncClient) -> ApiServices:
    """Those of the application, to play the workers' part with."""
    transport: Any = client._transport
    result: ApiServices = transport.app.state.services
    return result


async def create(client: httpx.AsyncClient, name: str = "bob", **config: Any) -> str:
    body = {"task_name": name, "config": CONFIG | config}
    response = await client.post("/api/v1/task/create", json=body)
    assert response.status_code == 200, response.text
    return exp_id_of(response.json()["task_id"])


def exp_id_of(task_id: str) -> str:
    """Return the id of a task's experiment, which works in place of the task's."""
    assert task_id.startswith("task-steps-")
    return task_id.replace("task-steps-", "exp-")


def task_id_of(exp_id: str) -> str:
    return exp_id.replace("exp-", "task-steps-")


async def bring(client: httpx.AsyncClient, task: str, name: str = "a.wav", content: bytes | None = None) -> Any:
    return await client.post(f"/api/v1/task/{task}/files/upload", files={"file": (name, content or tone(2.0))})


async def lay(records: Records, task: str = "training", name: str = "a.wav") -> str:
    """Return the id of a file that nobody will open, as if it had been brought."""
    file = await records.files.create(
        NewFileRecord(
            id=new_id("file"), filename=name, purpose=task, size_bytes=1, sha256="0" * 64, media_type="audio/wav"
        )
    )
    return file.id


async def step(client: httpx.AsyncClient, task: str, name: str, params: dict[str, Any] | None = None) -> httpx.Response:
    return await client.post(f"/api/v1/task/{task}/step/{name}", json=params)


async def finish(records: Records, task: str, *stages: str) -> None:
    """As if workers had done them."""
    async with records.experiments.transaction(task) as change:
        for stage in stages:
            change.set_stage(stage, status=StageStatus.COMPLETED, progress=1.0, run=1, work_run=1, queued_at=1.0)


async def test_a_task_is_made_with_the_settings_of_its_stages(client: httpx.AsyncClient, records: Records) -> None:
    task = await create(client, "语音克隆测试", gpu_id="0-1-2", priority=7)

    created = await records.experiments.get(task)
    view = (await client.get(f"/api/v1/task/{task}")).json()

    assert (created.exp_name, created.version, created.language, created.gpu_numbers, created.priority) == (
        "bob",
        "nano",
        "en",
        "0-1-2",
        7,
    )
    assert created.parameters["sovits_train"] == {"batch_size": 2, "total_epoch": 3}
    assert created.parameters["gpt_train"] == {"batch_size": 2, "total_epoch": 4}
    assert (view["status"], view["progress"], view["error_message"]) == ("queued", 0.0, None)
    assert (view["task_name"], view["current_step"]) == ("语音克隆测试", None)
    assert [item["step"] for item in view["steps"]] == [
        "convert_audio",
        "slice_audio",
        "denoise_audio",
        "asr_transcribe",
        "extract_text_features",
        "extract_audio_features",
        "extract_semantic_features",
        "train_sovits",
        "train_gpt",
        "test_inference",
    ]


async def test_settings_that_mean_nothing_here_are_named_and_left_alone(client: httpx.AsyncClient) -> None:
    body = {"task_name": "bob", "config": {"exp_name": "bob", "gpu_id": 0, "opt_dir": "/tmp/x"}}

    response = await client.post("/api/v1/task/create", json=body)

    assert response.status_code == 200
    assert response.json()["warnings"] == ["config.opt_dir is not known here and changes nothing."]


REFUSED_SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"gpu_id": "0;rm"}, "config.gpu_id"),
    ({"gpu_id": "0-0"}, "0-0"),
    ({"epochs_s2": 101}, "config.epochs_s2"),
    ({"epochs_s1": 0}, "config.epochs_s1"),
    ({"batch_size": 33}, "config.batch_size"),
    ({"language": "klingon"}, "config.language"),
    ({"version": "v9"}, "config.version"),
    ({"exp_name": "x" * 101}, "config.exp_name"),
    ({"priority": 11}, "config.priority"),
]


async def test_settings_that_cannot_be_are_rejected_by_name(client: httpx.AsyncClient) -> None:
    for change, message in REFUSED_SETTINGS:
        response = await client.post("/api/v1/task/create", json={"task_name": "a", "config": CONFIG | change})

        assert response.status_code == 422
        assert message in response.json()["error"]["message"]
    assert (await client.get("/api/v1/tasks")).json()["total"] == 0


async def test_a_task_without_a_name_is_rejected(client: httpx.AsyncClient) -> None:
    responses = [
        await client.post("/api/v1/task/create", json=body)
        for body in ({"config": CONFIG}, {"task_name": "", "config": {}}, {"task_name": "a", "colour": "red"})
    ]

    assert [response.status_code for response in responses] == [422, 422, 422]


async def test_three_files_are_brought_listed_and_read_again(client: httpx.AsyncClient) -> None:
    task = await create(client)
    sound = tone(3.0)

    responses = [await bring(client, task, name, sound) for name in ("a.wav", "b.wav", "c.wav")]
    view = (await client.get(f"/api/v1/task/{task}")).json()["files"]
    back = await client.get(f"/api/v1/task/{task}/files/download/b.wav")

    assert [response.status_code for response in responses] == [200, 200, 200]
    assert responses[2].json()["files"] == ["a.wav", "b.wav", "c.wav"]
    assert sorted(item["filename"] for item in view) == ["a.wav", "b.wav", "c.wav"]
    assert {item["kind"] for item in view} == {"upload"}
    assert back.content == sound


async def test_a_file_of_the_same_name_takes_the_place_of_the_first(client: httpx.AsyncClient) -> None:
    task = await create(client)
    await bring(client, task, "a.wav", tone(2.0))
    newer = tone(3.0)

    await bring(client, task, "a.wav", newer)

    view = (await client.get(f"/api/v1/task/{task}")).json()["files"]
    assert [item["size_bytes"] for item in view] == [len(newer)]
    assert (await client.get(f"/api/v1/task/{task}/files/download/a.wav")).content == newer


async def test_only_names_of_the_tasks_own_list_are_read(client: httpx.AsyncClient, records: Records) -> None:
    task, other = await create(client), await create(client)
    await lay(records, task, "a.wav")
    await lay(records, other, "b.wav")

    for name in ("b.wav", "..%2fsovitsd.sqlite3", "%2e%2e", "a.wav%00", "files%2fa.wav"):
        response = await client.get(f"/api/v1/task/{task}/files/download/{name}")

        assert response.status_code == 404, name


async def test_what_is_no_recording_is_rejected(client: httpx.AsyncClient) -> None:
    task = await create(client)

    responses = [
        await bring(client, task, "a.wav", b"not a sound" * 100),
        await client.post(f"/api/v1/task/{task}/files/upload", files={"audio": ("a.wav", tone(2.0))}),
        await client.post(f"/api/v1/task/{task}/files/upload", json={}),
    ]

    assert [response.status_code for response in responses] == [400, 400, 400]
    assert (await client.get(f"/api/v1/task/{task}")).json()["files"] == []


async def test_the_first_step_of_one_recording_reads_it(
    client: httpx.AsyncClient, records: Records, queue: AsyncQueue
) -> None:
    task = await create(client)
    brought = await lay(records, task)

    response = await step(client, task, "convert_audio")

    job = await queue.job(f"{task}.convert.1")
    assert response.status_code == 200
    assert response.json()["job_id"] == f"{task}.convert.1"
    assert (await records.experiments.get(task)).audio_file_id == brought
    assert job is not None
    assert job.status == "waiting"


async def test_the_first_step_of_three_waits_for_the_data_set_they_become(
    client: httpx.AsyncClient, records: Records, queue: AsyncQueue
) -> None:
    task = await create(client)
    ids = [await lay(records, task, name) for name in ("a.wav", "b.wav", "c.wav")]

    await step(client, task, "convert_audio")

    created = await records.experiments.get(task)
    assert created.dataset_id is not None
    version = await records.dataset_versions.get(created.dataset_id, 1)
    job = await queue.job(f"{task}.convert.1")
    assert [item["file_id"] for item in version.request["sources"]] == ids
    assert job is not None
    assert (job.status, job.pending_dependencies) == ("delayed", 1)


async def test_the_same_files_are_not_taken_in_twice(
    client: httpx.AsyncClient, records: Records, queue: AsyncQueue
) -> None:
    task = await create(client)
    for name in ("a.wav", "b.wav"):
        await lay(records, task, name)
    await step(client, task, "convert_audio")
    await client.post(f"/api/v1/task/{task}/cancel")
    first = (await records.experiments.get(task)).dataset_id

    await step(client, task, "convert_audio")
    again = (await records.experiments.get(task)).dataset_id
    await client.post(f"/api/v1/task/{task}/cancel")
    await lay(records, task, "c.wav")
    await step(client, task, "convert_audio")

    assert again == first
    assert (await records.experiments.get(task)).dataset_id != first


async def test_without_a_file_there_is_nothing_to_begin_from(client: httpx.AsyncClient) -> None:
    task = await create(client)

    response = await step(client, task, "convert_audio")

    assert response.status_code == 400
    assert "Upload one" in response.json()["error"]["hint"]


async def test_a_step_names_what_it_needs_first(client: httpx.AsyncClient, records: Records) -> None:
    task = await create(client)
    await finish(records, task, "convert")

    response = await step(client, task, "train_sovits")

    assert response.status_code == 400
    assert response.json()["error"]["details"]["unmet"] == ["text_feature", "semantic_token"]


async def test_a_step_asked_for_early_waits_for_its_turn(
    client: httpx.AsyncClient, records: Records, api_services: ApiServices
) -> None:
    task = await create(client)
    await lay(records, task)
    await step(client, task, "convert_audio")

    early = await step(client, task, "slice_audio")
    later = await step(client, task, "asr_transcribe")
    waiting = (await client.get(f"/api/v1/task/{task}")).json()
    await api_services.experiments.runs.start(task, "convert", 1)
    await api_services.experiments.runs.complete(task, "convert", 1, {})

    assert (early.status_code, early.json()["status"], early.json()["job_id"]) == (200, "running", None)
    assert later.status_code == 200
    assert (waiting["status"], waiting["current_step"]) == ("running", "asr_transcribe")
    assert (await records.stages.get(task, "audio_slice")).status is StageStatus.QUEUED
    assert list((await records.experiments.get(task)).planned) == ["asr"]


async def test_a_failed_step_takes_those_along_that_wait_for_it(
    client: httpx.AsyncClient, api_services: ApiServices
) -> None:
    task = await create(client)
    await lay(api_services.records, task)
    for name in ("convert_audio", "slice_audio", "asr_transcribe"):
        await step(client, task, name)

    await api_services.experiments.runs.fail(task, "convert", 1, {"code": "bad_audio", "message": "It is no sound."})

    view = (await client.get(f"/api/v1/task/{task}")).json()
    assert (view["status"], view["current_step"]) == ("failed", "convert_audio")
    assert view["error_message"] == "It is no sound."
    assert (await step(client, task, "slice_audio")).status_code == 400


async def test_the_status_follows_the_step_that_is_run(client: httpx.AsyncClient, api_services: ApiServices) -> None:
    task = await create(client)
    await lay(api_services.records, task)
    await step(client, task, "convert_audio")
    experiments = api_services.experiments

    await experiments.runs.start(task, "convert", 1)
    await experiments.runs.update_progress(task, "convert", 1, 0.5, "Half.")
    running = (await client.get(f"/api/v1/task/{task}")).json()
    await experiments.runs.complete(task, "convert", 1, {})
    done = (await client.get(f"/api/v1/task/{task}")).json()
    await step(client, task, "slice_audio")
    next_one = (await client.get(f"/api/v1/task/{task}")).json()

    assert (running["status"], running["progress"], running["current_step"]) == ("running", 50.0, "convert_audio")
    assert (done["status"], done["progress"]) == ("completed", 100.0)
    assert 0 < done["overall_progress"] < 100
    assert (next_one["status"], next_one["current_step"]) == ("queued", "slice_audio")


async def test_shifted_parameters_of_slice_audio_are_put_right_and_said(
    client: httpx.AsyncClient, records: Records
) -> None:
    task = await create(client)
    await finish(records, task, "convert")

    response = (await step(client, task, "slice_audio", SHIFTED)).json()

    config = (await records.stages.get(task, "audio_slice")).config
    log = (await client.get(f"/api/v1/task/{task}/logs")).json()["logs"]
    assert (config["threshold"], config["min_length"], config["min_interval"]) == (-34, 4000, 300)
    assert (config["hop_size"], config["max_sil_kept"], config["_max"], config["alpha"]) == (10, 500, 0.9, 0.25)
    assert "shifted by one name" in response["warnings"][0]
    assert "min_length -34 is threshold" in response["warnings"][0]
    assert [(line["level"], line["step"]) for line in log] == [("WARNING", "slice_audio")]
    assert log[0]["message"] == response["warnings"][0]


async def test_the_services_own_example_of_slice_audio_is_put_right_to_its_last_name(
    client: httpx.AsyncClient, records: Records
) -> None:
    task = await create(client)
    await finish(records, task, "convert")
    example = SHIFTED | {"n_parts": 0.25, "is_speech": 0, "num_processes": 1}

    response = await step(client, task, "slice_audio", {"params": example})

    body = response.json()
    assert response.status_code == 200
    assert body["params"] == {
        "threshold": -34,
        "min_length": 4000,
        "min_interval": 300,
        "hop_size": 10,
        "max_sil_kept": 500,
        "_max": 0.9,
        "alpha": 0.25,
        "n_parts": 1,
    }
    assert len(body["warnings"]) == 1


async def test_numbers_of_parts_beside_the_right_names_are_accepted(
    client: httpx.AsyncClient, records: Records
) -> None:
    task = await create(client)
    await finish(records, task, "convert")

    response = await step(client, task, "slice_audio", {"threshold": -30, "is_speech": 0, "num_processes": 4})

    assert (response.status_code, response.json()["warnings"]) == (200, [])
    assert (response.json()["params"]["threshold"], response.json()["params"]["n_parts"]) == (-30, 1)


async def test_parameters_that_nobody_knows_are_named_and_change_nothing(
    client: httpx.AsyncClient, records: Records
) -> None:
    task = await create(client)
    await finish(records, task, "convert")

    response = await step(client, task, "slice_audio", {"params": {"colour": 1}})

    assert (response.status_code, response.json()["warnings"]) == (
        200,
        ["slice_audio has no parameter 'colour': it changes nothing."],
    )


async def test_parameters_in_their_place_stay_there(client: httpx.AsyncClient, records: Records) -> None:
    task = await create(client)
    await finish(records, task, "convert")

    response = await step(client, task, "slice_audio", {"params": {"threshold": -40, "min_length": 3000}})

    config = (await records.stages.get(task, "audio_slice")).config
    assert (config["threshold"], config["min_length"], response.json()["warnings"]) == (-40, 3000, [])


async def test_parameters_that_cannot_be_are_rejected(client: httpx.AsyncClient, records: Records) -> None:
    task = await create(client)
    await finish(records, task, "convert")
    wrong: list[tuple[Any, str]] = [
        ({"min_length": 1}, "min_length"),
        ({"params": 3}, "'params'"),
        ([1], "object"),
    ]

    for params, message in wrong:
        response = await step(client, task, "slice_audio", params)

        view = (await client.get(f"/api/v1/task/{task}")).json()
        assert response.status_code == 422
        assert message in response.json()["error"]["message"]
        assert (view["status"], view["current_step"]) == ("failed", "slice_audio")
        assert message in view["error_message"]
    assert (await records.stages.get(task, "audio_slice")).status is StageStatus.PENDING


async def test_whoever_runs_the_denoising_step_wants_it_done(client: httpx.AsyncClient, records: Records) -> None:
    task = await create(client)
    await finish(records, task, "convert", "audio_slice")

    await step(client, task, "denoise_audio")

    assert (await records.stages.get(task, "denoise")).config["enabled"] is True


async def test_a_step_that_the_version_does_not_need_is_completed_at_once(client: httpx.AsyncClient) -> None:
    task = await create(client)

    response = await step(client, task, "extract_speaker_vectors")

    view = (await client.get(f"/api/v1/task/{task}")).json()
    assert (response.status_code, response.json()["status"]) == (200, "completed")
    assert response.json()["message"] == "nano needs no extract_speaker_vectors: there is nothing to do."
    assert (view["status"], view["progress"], view["current_step"]) == ("completed", 100.0, "extract_speaker_vectors")
    assert view["message"] == response.json()["message"]


async def test_every_step_of_the_eleven_is_known_and_no_other(client: httpx.AsyncClient, settings: Settings) -> None:
    install_version(settings.data_path / "models", "v2Pro")
    task = await create(client, version="v2Pro")

    names = [item["step"] for item in (await client.get(f"/api/v1/task/{task}")).json()["steps"]]
    responses = [await step(client, task, name) for name in names]
    unknown = await step(client, task, "fly")

    assert len(names) == len(STAGES) == 11
    assert {response.status_code for response in responses} == {400}
    assert unknown.status_code == 404
    assert "train_gpt" in unknown.json()["error"]["hint"]


async def test_a_cancelled_task_stops_and_can_go_on(
    client: httpx.AsyncClient, records: Records, queue: AsyncQueue
) -> None:
    task = await create(client)
    await lay(records, task)
    for name in ("convert_audio", "slice_audio"):
        await step(client, task, name)

    stopped = (await client.post(f"/api/v1/task/{task}/cancel")).json()
    again = (await client.post(f"/api/v1/task/{task}/cancel")).json()
    job = await queue.job(f"{task}.convert.1")
    on = await step(client, task, "convert_audio")

    assert stopped["status"] == again["status"] == "cancelled"
    assert (await records.experiments.get(task)).planned == {}
    assert job is not None
    assert job.status == "cancelled"
    assert (on.status_code, on.json()["job_id"]) == (200, f"{task}.convert.2")


async def test_a_deleted_task_leaves_nothing(client: httpx.AsyncClient, records: Records, settings: Any) -> None:
    task = await create(client)
    for name in ("a.wav", "b.wav"):
        await bring(client, task, name)
    await step(client, task, "convert_audio")

    response = await client.delete(f"/api/v1/task/{task}")

    assert response.json()["status"] == "deleted"
    assert (await client.get(f"/api/v1/task/{task}")).status_code == 404
    assert (await client.delete(f"/api/v1/task/{task}")).status_code == 404
    assert (await records.files.page()).total == 0
    assert (await records.datasets.page()).total == 0
    assert list(settings.storage_root.glob("files/*")) == []


OF_A_TASK = [
    ("GET", ""),
    ("POST", "/step/convert_audio"),
    ("POST", "/cancel"),
    ("DELETE", ""),
    ("GET", "/logs"),
    ("GET", "/files/download/a.wav"),
]


async def test_an_unknown_task_is_not_found(client: httpx.AsyncClient) -> None:
    for method, path in OF_A_TASK:
        for task in ("exp-none", "task-none"):
            response = await client.request(method, f"/api/v1/task/{task}{path}")

            assert response.status_code == 404, response.text
            assert response.json()["error"]["code"] == "not_found"


async def test_the_list_serves_both_readers(client: httpx.AsyncClient, records: Records) -> None:
    file = await lay(records)
    quick = (await client.post("/api/v1/tasks", json={"exp_name": "quick", "audio_file_id": file})).json()
    task = await create(client)

    page = (await client.get("/api/v1/tasks")).json()
    second = (await client.get("/api/v1/tasks", params={"limit": 1, "offset": 1})).json()

    ids = [task_id_of(task), quick["id"]]
    assert [item["id"] for item in page["items"]] == ids == [item["task_id"] for item in page["items"]]
    assert all(item["id"].startswith("task-") for item in page["items"])
    assert (await client.get(f"/api/v1/tasks/{ids[0]}")).json() == page["items"][0]
    assert (page["total"], second["items"]) == (2, page["items"][1:])
    assert quick.items() <= page["items"][1].items()
    assert set(page["items"][0]) == set(page["items"][1])
    assert page["tasks"] == page["items"]
    assert [item["current_step"] for item in page["items"]] == [None, None]
    assert [item["progress_percent"] for item in page["items"]] == [0.0, 0.0]
    assert (await client.get(f"/api/v1/tasks/{task}")).json() == page["items"][0]
    assert (await client.delete(f"/api/v1/tasks/{task}")).json()["id"] == task_id_of(task)


async def test_the_list_is_filtered_for_both(client: httpx.AsyncClient, records: Records) -> None:
    file = await lay(records)
    await client.post("/api/v1/tasks", json={"exp_name": "quick", "audio_file_id": file})
    task = await create(client)
    await lay(records, task)
    await step(client, task, "convert_audio")

    queued = (await client.get("/api/v1/tasks", params={"status": "queued"})).json()
    running = (await client.get("/api/v1/tasks", params={"status": "running"})).json()

    assert [item["exp_name"] for item in queued["items"]] == ["quick"]
    assert [item["id"] for item in running["items"]] == [task_id_of(task)]


async def test_experiments_of_experts_are_no_tasks(client: httpx.AsyncClient, records: Records) -> None:
    file = await lay(records)
    created = (await client.post("/api/v1/experiments", json={"exp_name": "a", "audio_file_id": file})).json()

    assert (await client.get("/api/v1/tasks")).json()["total"] == 0
    assert (await client.get(f"/api/v1/tasks/{created['id']}")).status_code == 404
    assert (await bring(client, created["id"])).status_code == 409


async def test_a_task_of_our_own_is_seen_whole(client: httpx.AsyncClient, records: Records) -> None:
    file = await lay(records)
    quick = (await client.post("/api/v1/tasks", json={"exp_name": "quick", "audio_file_id": file})).json()

    view = (await client.get(f"/api/v1/task/{quick['id']}")).json()
    early = await step(client, quick["id"], "train_gpt")
    stopped = await client.post(f"/api/v1/task/{quick['id']}/cancel")

    assert (view["status"], view["progress"], view["current_step"]) == ("queued", 0.0, None)
    assert early.status_code == 409
    assert stopped.json()["status"] == "cancelled"


async def test_trained_models_are_files_of_the_task(client: httpx.AsyncClient, records: Records, api: Api) -> None:
    task = await create(api.client)
    api.services.storage.put_bytes("checkpoints/ckpt-1.safetensors", b"weights")
    await records.checkpoints.create(
        NewCheckpointRecord(
            id="ckpt-1",
            kind="gpt",
            version="nano",
            name="bob",
            exp_id=task,
            epoch=4,
            sha256="0" * 64,
            size_bytes=7,
            storage_key="checkpoints/ckpt-1.safetensors",
        )
    )

    [view] = (await api.client.get(f"/api/v1/task/{task}")).json()["files"]
    back = await api.client.get(f"/api/v1/task/{task}/files/download/{view['filename']}")

    assert (view["filename"], view["kind"]) == ("bob_gpt_e4.safetensors", "model")
    assert back.content == b"weights"


# What a client sees that only polls the task


REJECTED_STEPS: list[tuple[str, Any, int, str, str]] = [
    ("convert_audio", {}, 400, "No recording is there yet.", "convert_audio"),
    ("train_gpt", {}, 400, "gpt_train needs text_feature, semantic_token first", "train_gpt"),
    ("slice_audio", {"params": "x"}, 422, "'params' is no object", "slice_audio"),
    ("test_inference", {"gpt_model": "path/to/gpt_model.ckpt"}, 404, "path/to/gpt_model.ckpt", "test_inference"),
    ("test_inference", {"ref_audio": "/etc/passwd"}, 404, "/etc/passwd", "test_inference"),
]


@pytest.mark.parametrize(("name", "params", "status", "reason", "shown"), REJECTED_STEPS)
async def test_a_rejected_step_shows_in_the_task(
    client: httpx.AsyncClient, name: str, params: Any, status: int, reason: str, shown: str
) -> None:
    task = await create(client)

    response = await step(client, task, name, params)

    view = (await client.get(f"/api/v1/task/{task}")).json()
    listed = (await client.get("/api/v1/tasks", params={"status": "failed"})).json()["tasks"]
    assert response.status_code == status
    assert (view["status"], view["current_step"]) == ("failed", shown)
    assert reason in view["error_message"]
    assert [(item["task_id"], item["status"], item["error_message"]) for item in listed] == [
        (task_id_of(task), "failed", view["error_message"])
    ]


async def test_a_step_that_does_not_exist_fails_the_task_too(client: httpx.AsyncClient, records: Records) -> None:
    task = await create(client)
    await lay(records, task)

    unknown = await step(client, task, "no_such_step")
    failed = (await client.get(f"/api/v1/task/{task}")).json()
    await step(client, task, "convert_audio")
    next_one = (await client.get(f"/api/v1/task/{task}")).json()

    assert unknown.status_code == 404
    assert (failed["status"], failed["current_step"]) == ("failed", None)
    assert "no_such_step" in failed["error_message"]
    assert (next_one["status"], next_one["error_message"]) == ("queued", None)


async def test_a_body_that_is_no_json_fails_the_task_too(client: httpx.AsyncClient) -> None:
    task = await create(client)

    response = await client.post(
        f"/api/v1/task/{task}/step/convert_audio", content=b"{", headers={"content-type": "application/json"}
    )

    view = (await client.get(f"/api/v1/task/{task}")).json()
    assert response.status_code == 400
    assert (view["status"], view["current_step"]) == ("failed", "convert_audio")


async def test_completed_means_the_step_that_was_requested_last(
    client: httpx.AsyncClient, records: Records, api_services: ApiServices
) -> None:
    task = await create(client)
    await lay(records, task)
    await step(client, task, "convert_audio")
    runs = api_services.experiments.runs
    await runs.start(task, "convert", 1)
    await runs.complete(task, "convert", 1, {})
    await step(client, task, "slice_audio")
    await runs.start(task, "audio_slice", 1)
    await runs.complete(task, "audio_slice", 1, {})
    both = (await client.get(f"/api/v1/task/{task}")).json()

    await step(client, task, "convert_audio")
    again = (await client.get(f"/api/v1/task/{task}")).json()
    await runs.start(task, "convert", 2)
    await runs.complete(task, "convert", 2, {})
    repeated = (await client.get(f"/api/v1/task/{task}")).json()

    assert (both["status"], both["current_step"]) == ("completed", "slice_audio")
    assert (again["status"], again["current_step"], again["progress"]) == ("queued", "convert_audio", 0.0)
    assert (repeated["status"], repeated["current_step"]) == ("completed", "convert_audio")


async def test_a_repeated_request_of_a_step_under_way_lets_it_go_on(
    client: httpx.AsyncClient, records: Records
) -> None:
    task = await create(client)
    await lay(records, task)

    responses = [await step(client, task, "convert_audio") for _ in range(2)]
    early = [await step(client, task, "slice_audio", {"threshold": -30}) for _ in range(2)]
    other = await step(client, task, "slice_audio", {"threshold": -40})

    assert [response.status_code for response in (*responses, *early)] == [200, 200, 200, 200]
    assert {response.json()["job_id"] for response in responses} == {f"{task}.convert.1"}
    assert other.json()["params"]["threshold"] == -40, "a planned step takes the newest parameters"


async def test_a_task_in_which_nothing_runs_is_cancelled_too(client: httpx.AsyncClient, records: Records) -> None:
    idle, failed = await create(client), await create(client)
    await step(client, failed, "convert_audio")

    responses = [await client.post(f"/api/v1/task/{task}/cancel") for task in (idle, failed)]

    views = [(await client.get(f"/api/v1/task/{task}")).json() for task in (idle, failed)]
    assert [response.json()["status"] for response in responses] == ["cancelled", "cancelled"]
    assert [(view["status"], view["error_message"]) for view in views] == [("cancelled", None)] * 2


async def test_names_of_languages_and_files_are_resolved_for_the_test(
    client: httpx.AsyncClient, records: Records, api: Api
) -> None:
    task = await create(api.client)
    reference = await lay(records, task, "reference.wav")
    for kind in ("gpt", "sovits"):
        await records.checkpoints.create(
            NewCheckpointRecord(
                id=f"ckpt-{kind}", kind=kind, version="nano", exp_id=task, epoch=4, sha256="0" * 64, size_bytes=7
            )
        )
    await finish(records, task, *(stage for stage in STAGES if stage not in ("speaker_vector", "test_inference")))
    names = {item["id"]: item["filename"] for item in (await api.client.get(f"/api/v1/task/{task}")).json()["files"]}
    params = {
        "gpt_model": names["ckpt-gpt"],
        "sovits_model": "ckpt-sovits",
        "ref_audio": "reference.wav",
        "ref_text": "参考文本内容",
        "ref_language": "中文",
        "target_text": "目标合成文本",
        "target_language": "多语种混合(粤语)",
    }

    started = await step(api.client, task, "test_inference", {"params": params})
    swapped = await step(api.client, task, "test_inference", {"params": {"gpt_model": "ckpt-sovits"}})

    config = started.json()["params"]
    assert started.status_code == 200, started.text
    assert (config["gpt_model"], config["sovits_model"], config["ref_audio"]) == ("ckpt-gpt", "ckpt-sovits", reference)
    assert (config["ref_language"], config["target_language"]) == ("all_zh", "auto_yue")
    assert swapped.status_code == 422


async def test_an_upload_of_another_task_is_no_reference(client: httpx.AsyncClient, records: Records) -> None:
    task, other = await create(client), await create(client)
    foreign = await lay(records, other, "b.wav")

    response = await step(client, task, "test_inference", {"ref_audio": foreign})

    assert response.status_code == 404


async def test_the_audio_of_the_test_is_a_file_of_the_task(
    client: httpx.AsyncClient, records: Records, api: Api
) -> None:
    task = await create(api.client)
    key = f"experiments/{task}/test_inference_1/sample.wav"
    api.services.storage.put_bytes(key, tone(1.0))
    async with records.experiments.transaction(task) as change:
        change.set_stage(
            "test_inference", status=StageStatus.COMPLETED, run=1, work_run=1, queued_at=1.0, outputs={"sample": key}
        )

    [view] = (await api.client.get(f"/api/v1/task/{task}")).json()["files"]
    sound = await api.client.get(f"/api/v1/task/{task}/files/download/sample.wav")
    await lay(records, task, "sample.wav")
    names = [item["filename"] for item in (await api.client.get(f"/api/v1/task/{task}")).json()["files"]]

    assert (view["filename"], view["kind"]) == ("sample.wav", "audio")
    assert (sound.headers["content-type"], sound.content) == ("audio/wav", tone(1.0))
    assert names == ["sample.wav", "test_inference.wav"]


async def test_half_precision_without_a_gpu_is_a_warning(
    client: httpx.AsyncClient, records: Records, queue: AsyncQueue
) -> None:
    task = await create(client)
    await finish(records, task, "convert", "audio_slice")
    await queue.register_worker("preprocessor-1", "preprocessor", "one", 1, "cpu")

    response = await step(client, task, "denoise_audio", {"params": {"precision": "float16"}})

    assert response.status_code == 200
    assert response.json()["warnings"] == ["precision float16 runs as float32: there is no GPU."]


async def test_settings_that_are_null_or_named_otherwise_are_accepted(
    client: httpx.AsyncClient, records: Records
) -> None:
    task = await create(client, language="中文", batch_size=None, gpu_id=None)

    created = await records.experiments.get(task)
    assert (created.language, created.gpu_numbers) == ("zh", "0")
    assert created.parameters["sovits_train"] == {"total_epoch": 3}
