"""A recording becomes a voice and the voice speaks, while its workers are killed in the middle of it."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import soundfile
from server_sent_events import read_events

from core.records import Records
from core.settings import read_settings
from scripts.demo_daemon import Daemon, descendants

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SHORT = {
    "audio_slice": {"min_length": 2000, "min_interval": 100},
    "sovits_train": {"total_epoch": 2, "save_every_epoch": 1, "batch_size": 8},
    "gpt_train": {"total_epoch": 2, "save_every_epoch": 1, "batch_size": 8},
}
"""Short segments, and two epochs to be chosen from, the second of which is interrupted."""
TEXT = (
    "The first sentence is spoken by one worker. The second one may be spoken by another, since the first was killed. "
    "The third one comes last, and nobody notices that anything happened."
)


@pytest.fixture(scope="module")
def voice(daemon: Daemon, client: httpx.Client, recording: Path) -> dict[str, Any]:
    """Trained while the preprocessor and the training process are killed once each."""
    file_id = upload(client, recording).json()["id"]
    created = client.post(
        "/api/v1/tasks",
        json={
            "exp_name": "survivor",
            "audio_file_id": file_id,
            "options": {"version": "nano", "language": "en", "quality": "fast"},
        },
    )
    assert created.status_code == 201, created.text
    asyncio.run(train_shortly(daemon, created.json()["exp_id"]))
    killed: set[str] = set()
    previews: list[dict[str, Any]] = []
    for kind, data in read_events(client, f"/api/v1/tasks/{created.json()['id']}/progress", silence=120):
        if kind != "progress":
            assert kind not in ("failed", "cancelled"), data
            previews += [data] if kind == "preview" else []
            continue
        if data["stage"] == "asr" and data["progress"] < 0.9 and "preprocessor" not in killed:
            killed |= kill(daemon, "preprocessor")
        if data["stage"] == "sovits_train" and data.get("epoch", 0) >= 2 and "GPT_SoVITS.train" not in killed:
            killed |= kill(daemon, "GPT_SoVITS.train")
    task = client.get(f"/api/v1/tasks/{created.json()['id']}").json()
    return {"task": task, "killed": killed, "previews": previews}


def test_a_task_whose_workers_were_killed_ends_with_a_voice(voice: dict[str, Any], client: httpx.Client) -> None:
    assert voice["killed"] == {"preprocessor", "GPT_SoVITS.train"}
    assert voice["task"]["status"] == "completed"
    names = [item["name"] for item in client.get("/api/v1/voices").json()["items"]]
    assert names == ["survivor", "allison", "xiaoyi", "yunjian"], "the new one before the bundled ones"


def test_a_training_that_was_killed_went_on_from_its_last_saved_epoch(voice: dict[str, Any], daemon: Daemon) -> None:
    [metrics] = daemon.data.glob("storage/experiments/*/sovits_1/metrics.jsonl")
    steps = [orjson.loads(line)["step"] for line in metrics.read_bytes().splitlines()]

    assert steps == sorted(set(steps)), "every step was counted once"


def test_every_saved_epoch_was_judged_and_the_best_one_speaks(voice: dict[str, Any], client: httpx.Client) -> None:
    result = voice["task"]["result"]
    published = client.get("/api/v1/voices/survivor").json()

    for kind in ("sovits", "gpt"):
        trained = result[f"{kind}_train"]
        for checkpoint in trained["checkpoints"]:
            assert checkpoint["wer"] >= 0
            assert -1 < checkpoint["similarity"] <= 1
            assert 1 <= checkpoint["dnsmos"] <= 5
        [best] = [item for item in trained["checkpoints"] if item["checkpoint_id"] == trained["checkpoint_id"]]
        assert trained["metrics"]["best_epoch"] == best["epoch"]
        assert published[f"{kind}_checkpoint_id"] == best["checkpoint_id"]
        stage = f"/api/v1/experiments/{voice['task']['exp_id']}/stages/{kind}_train"
        spoken = client.get(f"{stage}/artefacts/e{best['epoch']}.wav")
        assert soundfile.info(io.BytesIO(spoken.content)).duration > 0.5
        assert client.get(f"{stage}/artefacts/loss.png").content.startswith(b"\x89PNG")
        losses = client.get(f"{stage}/metrics").json()["epochs"]
        assert losses[-1]["epoch"] == trained["metrics"]["epochs"]


def test_the_voice_could_be_heard_before_and_during_its_training(voice: dict[str, Any], client: httpx.Client) -> None:
    path = f"/api/v1/experiments/{voice['task']['exp_id']}/stages"
    before = client.get(f"{path}/sovits_train/artefacts/e0.wav").content

    assert soundfile.info(io.BytesIO(before)).duration > 0.5
    for stage, epochs in (("sovits_train", [0, 1, 2]), ("gpt_train", [1, 2])):
        previews = client.get(f"{path}/{stage}").json()["previews"]
        assert [preview["epoch"] for preview in previews] == epochs
        spoken = [data["epoch"] for data in voice["previews"] if data["stage"] == stage]
        assert list(dict.fromkeys(spoken)) == epochs, "in order; one judged before the kill may be judged again"


def test_speech_goes_on_when_its_synthesizer_is_killed(
    voice: dict[str, Any], client: httpx.Client, daemon: Daemon
) -> None:
    answers: list[httpx.Response] = []
    request = {"model": "nano", "voice": "survivor", "input": TEXT, "response_format": "wav"}
    speaking = threading.Thread(target=lambda: answers.append(client.post("/v1/audio/speech", json=request)))

    speaking.start()
    wait_until_processing(daemon)
    kill(daemon, "synthesizer")
    speaking.join()

    assert answers[0].status_code == 200, answers[0].text
    samples, rate = soundfile.read(io.BytesIO(answers[0].content))
    assert rate == 16_000
    assert len(samples) / rate > 2.0
    assert abs(samples).max() > 0.01


@pytest.mark.parametrize("kind", ["mp3", "opus", "pcm"])
def test_streamed_speech_is_marked_in_every_format(voice: dict[str, Any], client: httpx.Client, kind: str) -> None:
    request = {"model": "nano", "voice": "allison", "input": TEXT, "response_format": kind, "seed": 5}
    audio = client.post("/v1/audio/speech", json=request).content
    if kind == "pcm":
        buffer = io.BytesIO()
        soundfile.write(buffer, np.frombuffer(audio, "<i2"), 24_000, format="wav")
        audio = buffer.getvalue()

    detected = client.post("/api/v1/detect", files={"file": (f"speech.{kind}", audio)}).json()

    assert detected["synthetic"]
    assert detected["watermark"]["mark_id"]


def test_a_file_of_an_inference_carries_the_mark_of_its_seed(voice: dict[str, Any], client: httpx.Client) -> None:
    marks = []
    for _ in range(2):
        request = {"text": TEXT, "voice": "allison", "seed": 7, "format": "flac"}
        created = client.post("/api/v1/inference", json=request).json()
        for kind, _data in read_events(client, f"/api/v1/inference/{created['id']}/progress", silence=60):
            assert kind != "failed"
        audio = client.get(f"/api/v1/inference/{created['id']}/audio").content
        marks.append(client.post("/api/v1/detect", files={"file": ("a.flac", audio)}).json()["watermark"]["mark_id"])

    assert marks[0] is not None
    assert marks[0] == marks[1]


def test_the_queues_are_empty_afterwards(voice: dict[str, Any], client: httpx.Client) -> None:
    assert set(client.get("/readyz").json()["queues"].values()) == {0}


def test_a_silent_recording_fails_with_what_to_do(client: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "silent.wav"
    soundfile.write(path, [0.0] * 16_000 * 12, 16_000)

    answer = upload(client, path)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "silent_recording"


def test_a_recording_in_which_nobody_speaks_fails_with_its_stage_and_the_reason(
    client: httpx.Client, tmp_path: Path
) -> None:
    path = tmp_path / "rain.wav"
    soundfile.write(path, np.random.default_rng(1).normal(0, 0.05, 16_000 * 15), 16_000)
    options = {"version": "nano", "language": "en", "quality": "fast"}
    task = client.post(
        "/api/v1/tasks",
        json={"exp_name": "rain", "audio_file_id": upload(client, path).json()["id"], "options": options},
    ).json()

    ending = [kind for kind, _ in read_events(client, f"/api/v1/tasks/{task['id']}/progress", silence=120)][-1]

    failed = client.get(f"/api/v1/tasks/{task['id']}").json()
    assert (ending, failed["status"], failed["current_stage"]) == ("failed", "failed", "asr")
    assert "Nobody speaks in the recording" in failed["error_message"]


async def train_shortly(daemon: Daemon, exp_id: str) -> None:
    """In place of the parameters of its quality: no user waits for this voice."""
    records = Records(read_settings(data_path=daemon.data).resolved_database_url)
    async with records.experiments.transaction(exp_id) as change:
        change.set_experiment(parameters={**change.experiment.parameters, **SHORT})
    await records.close()


def upload(client: httpx.Client, path: Path) -> httpx.Response:
    with path.open("rb") as sound:
        return client.post("/api/v1/files", files={"file": (path.name, sound)}, data={"purpose": "training"})


def kill(daemon: Daemon, word: str) -> set[str]:
    """SIGKILL to every process of the daemon whose command line holds the word; the word, if there was one."""
    pids = [pid for pid in descendants(daemon.process.pid) if word in command_line(pid)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return {word} if pids else set()


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


def wait_until_processing(daemon: Daemon) -> None:
    """Until a synthesizer holds a job; the queue's own channel says when."""
    from core.jobs.queue import Queue
    from core.redis import connect
    from core.redis_server import read_embedded_url

    with connect(read_embedded_url(daemon.data / "redis")) as redis:
        queue = Queue(redis)
        while not any(worker.role == "synthesizer" and worker.job for worker in queue.workers()):
            redis.ping()
