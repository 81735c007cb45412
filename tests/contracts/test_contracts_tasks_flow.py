"""A client of the tasks service through a tiny training: stages, streams, WebSocket, results, and a stage run again."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import soundfile
from contract_examples import Example, read_examples
from contract_values import faults_of
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import ClientConnection, connect

from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RECORDING = Path(__file__).resolve().parents[2] / "prompts" / "allison" / "recording.flac"
SECONDS = 16
EXAMPLES = {example["name"]: example for example in read_examples("tasks_service")}
SILENCE_SECONDS = 300
FEATURES = ("audio_slice", "asr", "text_feature", "hubert_feature", "semantic_token")
TINY = {"batch_size": 32, "total_epoch": 1, "save_every_epoch": 1}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that does not judge what it trains, which takes longer than the training."""
    folder = tmp_path_factory.mktemp("daemon")
    with Daemon(folder / "data", folder / "daemon.log", {"EVALUATION_SENTENCES": "0"}) as running:
        yield running


@pytest.fixture(scope="module")
def client(daemon: Daemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.url, timeout=60) as connected:
        yield connected


@pytest.fixture(scope="module")
def recording(client: httpx.Client) -> str:
    """Return the id of an upload: the beginning of the bundled recording."""
    samples, rate = soundfile.read(RECORDING, frames=SECONDS * 16_000, dtype="int16")
    wav = io.BytesIO()
    soundfile.write(wav, samples, rate, format="WAV")
    response = client.post("/api/v1/files", files={"file": ("recording.wav", wav.getvalue())})
    return str(response.json()["id"])


@pytest.fixture(scope="module")
def stages(client: httpx.Client, recording: str) -> str:
    """Return the path of the stages of an experiment that is ready for its training."""
    body = {"exp_name": "contract", "version": "nano", "audio_file_id": recording}
    exp_id = client.post("/api/v1/experiments", json=body).json()["id"]
    path = f"/api/v1/experiments/{exp_id}/stages"
    for stage in FEATURES:
        parameters = {"language": "en"} if stage == "asr" else {}
        started = client.post(f"{path}/{stage}", json=parameters)
        assert (started.status_code, started.json()["rerun"]) == (200, False), started.text
        assert list(read_stream(client, f"{path}/{stage}/progress"))[-1]["event"] == "completed"
    return path


@pytest.fixture(scope="module")
def messages(daemon: Daemon, client: httpx.Client, stages: str) -> list[dict[str, Any]]:
    """Return every message of the training's WebSocket, which is open from the beginning to the end."""
    started = client.post(f"{stages}/sovits_train", json=TINY)
    assert started.json()["config"].items() >= TINY.items()
    with connect(daemon.url.replace("http://", "ws://") + f"{stages}/sovits_train/ws") as connection:
        return read_messages(connection)


def read_messages(connection: ClientConnection) -> list[dict[str, Any]]:
    received = []
    try:
        while True:
            received.append(orjson.loads(connection.recv(timeout=SILENCE_SECONDS)))
    except ConnectionClosedOK:
        return received


def read_stream(client: httpx.Client, path: str) -> Iterator[dict[str, Any]]:
    with client.stream("GET", path, timeout=httpx.Timeout(30, read=SILENCE_SECONDS)) as response:
        fields: dict[str, str] = {}
        for line in response.iter_lines():
            name, _, value = line.partition(": ")
            fields[name] = value
            if name == "data":
                yield {"id": fields["id"], "event": fields["event"], "data": orjson.loads(value)}


def faults(example: Example, value: Any) -> list[str]:
    return list(faults_of(example["response"], value, "response"))


def _shape(example: Example, kind: str) -> Any:
    """Return the shape of an event; a stage has `log` events like a task."""
    shapes = EXAMPLES["progress of a running task"]["sse"]["events"] | example["sse"]["events"]
    return shapes.get(kind, {"a known event": kind})


def event_faults(example: Example, events: list[dict[str, Any]]) -> list[str]:
    shapes = example["sse"]["events"]
    return [
        fault
        for event in events
        # A stage without epochs, and what comes before the first one, has only progress and message.
        if event["event"] != "progress" or "stage" in shapes["progress"] or "epoch" in event["data"]
        for fault in faults_of(_shape(example, event["event"]), event["data"], event["event"])
    ]


def test_the_training_is_watched_by_stream_and_websocket(
    client: httpx.Client, stages: str, messages: list[dict[str, Any]]
) -> None:
    events = list(read_stream(client, f"{stages}/sovits_train/progress"))

    published = [message for message in messages if message["event"] != "heartbeat" and message["id"] != "0-1"]
    assert published == events
    assert event_faults(EXAMPLES["progress of a stage"], events) == []
    assert {"progress", "checkpoint", "log", "completed"} <= {event["event"] for event in events}
    lines = [event["data"]["message"] for event in events if event["event"] == "log"]
    assert any(line.startswith("Training on ") for line in lines)  # from the training's standard error


def test_a_checkpoint_has_one_name_everywhere(
    client: httpx.Client, stages: str, messages: list[dict[str, Any]]
) -> None:
    announced = {message["data"]["model_path"] for message in messages if message["event"] == "checkpoint"}
    outputs = client.get(f"{stages}/sovits_train").json()["outputs"]
    [model] = client.get("/api/v1/models", params={"type": "sovits", "exp_id": stages.split("/")[4]}).json()["items"]

    assert {outputs["model_path"]} == announced
    assert (model["id"], model["model_type"]) == (outputs["checkpoint_id"], "sovits")
    assert (model["experiment_id"], model["exp_name"], model["task_id"]) == (stages.split("/")[4], "contract", None)


def test_a_completed_stage_shows_what_it_left_and_runs_again(
    client: httpx.Client, stages: str, messages: list[dict[str, Any]]
) -> None:
    path = f"{stages}/sovits_train"
    completed = client.get(path).json()

    again = client.post(path, json={"total_epoch": 16})
    cancelled = client.delete(path)

    assert faults(EXAMPLES["a completed stage"], completed) == []
    assert messages[-1]["data"]["final_loss"] == completed["outputs"]["metrics"]["final_loss"]
    assert again.status_code == 200
    assert faults(EXAMPLES["run a completed stage again"], again.json()) == []
    assert again.json()["previous_run"]["outputs"] == completed["outputs"]
    assert cancelled.json()["message"] == "阶段 sovits_train 已取消"
    assert list(read_stream(client, f"{path}/progress"))[-1]["event"] == "cancelled"


def test_a_running_task_is_watched_until_it_is_cancelled(daemon: Daemon, client: httpx.Client, recording: str) -> None:
    options = {"version": "nano", "language": "en", "quality": "fast"}
    body = {"exp_name": "quick", "audio_file_id": recording, "options": options}
    task = client.post("/api/v1/tasks", json=body).json()
    received: list[dict[str, Any]] = []

    with connect(daemon.url.replace("http://", "ws://") + f"/api/v1/tasks/{task['id']}/ws") as connection:
        while not received or received[-1]["data"].get("stage") != "sovits_train":
            received.append(orjson.loads(connection.recv(timeout=SILENCE_SECONDS)))
        running = client.get(f"/api/v1/tasks/{task['id']}").json()
        assert client.delete(f"/api/v1/tasks/{task['id']}").json()["message"] == "任务已取消"
        received += read_messages(connection)

    assert faults(EXAMPLES["get a task"], running) == []
    assert (running["status"], running["current_stage"]) == ("running", "sovits_train")
    assert event_faults(EXAMPLES["progress of a running task"], received) == []
    assert {"progress", "log"} <= {message["event"] for message in received}
    assert received[-1]["event"] == "cancelled"
