"""The clients of the training and of the model service, as they are in docs/clients, train voices with tiny sizes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from contract_examples import read_examples
from contract_values import audio_faults, faults_of
from sovitsd_client import ConflictError
from sovitsd_client.model_service import Client

from scripts.demo_daemon import REPOSITORY, Daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CLIENTS = REPOSITORY / "docs" / "clients"
RECORDING = REPOSITORY / "prompts" / "allison" / "recording.flac"
RATE = 16_000
SECONDS = 6
"""Of each of three recordings: enough for a segment or two; what is trained on them nobody listens to."""
PROGRAM_SECONDS = 1500
View = dict[str, Any]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Every checkpoint speaks one sentence, since each costs seconds."""
    folder = tmp_path_factory.mktemp("daemon")
    with Daemon(folder / "data", folder / "daemon.log", {"EVALUATION_SENTENCES": "1"}) as running:
        yield running


@pytest.fixture(scope="module")
def http(daemon: Daemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.url, timeout=60) as connected:
        yield connected


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the beginning of the bundled recording in three pieces."""
    samples, rate = soundfile.read(RECORDING, frames=3 * SECONDS * RATE, dtype="int16")
    folder = tmp_path_factory.mktemp("three")
    paths = [folder / f"{name}.wav" for name in ("one", "two", "three")]
    for number, path in enumerate(paths):
        soundfile.write(path, samples[number * SECONDS * rate : (number + 1) * SECONDS * rate], rate)
    return paths


def example(service: str, name: str) -> Any:
    """Return what the contract says of a response."""
    return next(item for item in read_examples(service) if item["name"] == name)["response"]


def watch(
    daemon: Daemon, command: list[str], environment: dict[str, str], folder: Path, poll: Callable[[], None]
) -> str:
    """Run a client to its end, poll meanwhile, and return what it printed."""
    log = folder / "client.log"
    settings = {"BASE": daemon.url, "KEY": "", "POLL_SECONDS": "0.2", **environment}
    with log.open("wb") as output:
        client = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=os.environ | settings, stdout=output, stderr=output
        )
    deadline = time.monotonic() + PROGRAM_SECONDS
    try:
        while client.poll() is None and time.monotonic() < deadline:
            poll()
            time.sleep(0.1)  # between two polls, as a client does
    finally:
        client.kill()
        client.wait()
    assert client.returncode == 0, log.read_text() + daemon.log.read_text()[-3000:]
    return log.read_text()


def test_the_loop_of_the_eleven_steps_ends_with_a_voice(
    daemon: Daemon, http: httpx.Client, recordings: list[Path], tmp_path: Path
) -> None:
    views: list[View] = []

    def poll() -> None:
        tasks = http.get("/api/v1/tasks").json()["tasks"]
        if tasks:
            views.append(http.get(f"/api/v1/task/{tasks[0]['task_id']}").json())

    command = [str(CLIENTS / "eleven_steps.py"), "eleven", *map(str, recordings)]
    lines = watch(daemon, command, {"EPOCHS_S2": "1", "EPOCHS_S1": "1", "BATCH_SIZE": "8"}, tmp_path, poll).splitlines()

    task = lines[0].removeprefix("task ")
    shown = http.get(f"/api/v1/task/{task}").json()
    running = [view for view in views if view["status"] == "running"]
    steps = list(dict.fromkeys(view["current_step"] for view in views if view["current_step"]))
    assert [line for line in lines if line.startswith("uploaded")] == [
        f"uploaded {name}.wav" for name in ("one", "two", "three")
    ]
    assert {step["status"] for step in shown["steps"]} == {"completed"}
    assert (shown["status"], shown["progress"], shown["current_step"]) == ("completed", 100.0, "test_inference")
    assert running
    spec = example("training_service", "steps: a running task")
    assert [fault for view in running for fault in faults_of(spec, view, "")] == []
    order = ("convert_audio", "slice_audio", "asr_transcribe", "train_sovits", "train_gpt", "test_inference")
    assert [step for step in steps if step in order] == list(order)
    for sentence in ("shifted by one name", "nano needs no extract_speaker_vectors", "float16 runs as float32"):
        assert any(sentence in line for line in lines), sentence
    assert len(list(tmp_path.glob("eleven_*"))) == 2, "one file of each model was downloaded"
    assert soundfile.info(tmp_path / "sample.wav").duration > 0.5
    log = http.get(f"/api/v1/task/{task}/logs").json()
    assert any("shifted by one name" in line["message"] for line in log["logs"])
    _test_other_checkpoints(http, task, shown)


def _test_other_checkpoints(http: httpx.Client, task: str, shown: View) -> None:
    """Run test_inference again, with the task's own files by their names, then with a path that names nothing."""
    models = {file["filename"].split("_")[1]: file["filename"] for file in shown["files"] if file["kind"] == "model"}
    params = {
        "gpt_model": models["gpt"],
        "sovits_model": models["sovits"],
        "ref_audio": "one.wav",
        "ref_text": "Welcome to the voice mail system.",
        "ref_language": "英文",
        "target_text": "Another sentence.",
        "target_language": "英文",
    }
    path = f"/api/v1/task/{task}"

    started = http.post(f"{path}/step/test_inference", json={"params": params})
    spec = example("training_service", "steps: test_inference")
    assert (started.status_code, list(faults_of(spec, started.json(), ""))) == (200, [])
    while (view := http.get(path).json())["status"] not in ("completed", "failed"):
        time.sleep(0.2)  # between two polls, as a client does
    sound = http.get(f"{path}/files/download/sample.wav")
    unknown = http.post(f"{path}/step/test_inference", json={"params": {**params, "gpt_model": "path/to/gpt.ckpt"}})
    failed = http.get(path).json()

    spec = example("training_service", "steps: the sound that test_inference made")
    assert (view["status"], view["error_message"]) == ("completed", None)
    assert list(audio_faults(spec, sound.content)) == []
    assert unknown.status_code == 404
    assert (failed["status"], failed["current_step"]) == ("failed", "test_inference")
    assert "path/to/gpt.ckpt" in failed["error_message"]


def test_the_client_of_the_model_service_trains_and_speaks(
    daemon: Daemon, http: httpx.Client, recordings: list[Path], tmp_path: Path
) -> None:
    views: list[View] = []

    def poll() -> None:
        tasks = http.get("/api/v2/tasks").json()["data"]["training_tasks"]
        views.extend(task for task in tasks if task["latest_metrics"] is not None)

    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in recordings:
            packed.write(path, path.name)
    command = [str(CLIENTS / "model_service.py"), "pictures", str(archive)]
    printed = watch(daemon, command, {"EPOCHS": "1"}, tmp_path, poll)

    spec = example("model_service", "model service: a running training")["data"]
    running = [view for view in views if view["status"] == "running" and view["name"] == "pictures"]
    [task] = [task for task in _trainings(http) if task["name"] == "pictures"]
    assert running
    assert [fault for view in running for fault in faults_of(spec, view, "")] == []
    assert any(view["latest_metrics"]["train_acc"] is not None for view in [*running, task])
    assert all(0.0 < view["progress"] < 100 for view in running)
    assert (task["status"], task["progress"], task["device"]) == ("completed", 100, "cpu")
    assert (task["current_epoch"], task["total_epochs"]) == (1, 1)
    assert "There is no GPU: it runs on the CPU." in printed
    assert "[INFO]" in printed
    assert soundfile.info(tmp_path / "speech.wav").duration > 0.5
    logs = http.get(f"/api/v2/tasks/{task['task_id']}/logs").json()["data"]
    assert {line["level"] for line in logs} <= {"INFO", "WARNING", "ERROR"}
    assert len(logs) > 10


def _trainings(http: httpx.Client) -> list[View]:
    trainings: list[View] = http.get("/api/v2/tasks").json()["data"]["training_tasks"]
    return trainings


def test_twenty_trainings_and_a_hundred_reads_at_once_all_succeed(daemon: Daemon, recordings: list[Path]) -> None:
    with Client(daemon.url) as client:
        _load(client, recordings[0])


def _load(client: Client, recording: Path) -> None:
    file_id = client.server.files.upload(recording).id

    def start(number: int) -> View:
        view: View = client.start_training(
            model="nano",
            num_classes=37,
            train_path=file_id,
            val_path=file_id,
            save_path=f"models/load-{number}",
            task_id=f"load-{number}",
            priority=1 + number % 10,
            schedule_at="2099-01-01T00:00:00Z",
        )
        return view

    with ThreadPoolExecutor(20) as pool:
        started = list(pool.map(start, range(20)))
        reads = [pool.submit(client.get_task, f"load-{number % 20}") for number in range(100)]
        mixed = [pool.submit(client.get_resources), pool.submit(client.get_all_tasks), pool.submit(client.get_gpu_info)]
        speech = pool.submit(client.start_batch_inference, "allison", "allison", ["One.", "Two.", "Three."])
        statuses = [read.result() for read in reads]
        resources, tasks, gpus = (call.result() for call in mixed)
        batch = speech.result()

    listed = {view["task_id"]: view for view in tasks["training_tasks"]}
    assert [view["task_id"] for view in started] == [f"load-{number}" for number in range(20)]
    assert {view["status"] for view in (*started, *statuses)} == {"pending"}
    assert [view["priority"] for view in statuses[:20]] == [1 + number % 10 for number in range(20)]
    assert listed.keys() >= {view["task_id"] for view in started}
    assert (resources["limits"]["cpu"], gpus["count"]) == ({"training": 2, "inference": 4}, 0)
    assert batch["total"] == 3
    with pytest.raises(ConflictError):
        start(0)
    with ThreadPoolExecutor(20) as pool:
        cancelled = list(pool.map(client.cancel_task, [f"load-{number}" for number in range(20)]))
        deleted = list(pool.map(client.delete_task, [f"load-{number}" for number in range(20)]))
    assert {answer["status"] for answer in (*cancelled, *deleted)} == {"success"}
    assert not any(view["name"].startswith("load-") for view in client.get_all_tasks()["training_tasks"])
