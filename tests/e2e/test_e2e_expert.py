"""Expert mode with real speech: stage by stage, with changed parameters, a rerun, a pause and an early end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from server_sent_events import read_events

from scripts.demo_daemon import Daemon, descendants

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

MANY = 60
"""Epochs that nobody waits for."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Of its own: it does not judge what it trains, which takes longer than these trainings."""
    folder = tmp_path_factory.mktemp("expert")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("EVALUATION_SENTENCES", "0")
        with Daemon(folder / "data", folder / "daemon.log") as running:
            yield running


class Expert:
    """Someone who runs an experiment stage by stage."""

    def __init__(self, client: httpx.Client, exp_id: str) -> None:
        self.client = client
        self.exp_id = exp_id
        self.path = f"/api/v1/experiments/{exp_id}"

    def begin(self, stage: str, **parameters: Any) -> dict[str, Any]:
        answer = self.client.post(f"{self.path}/stages/{stage}", json=parameters)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def control(self, stage: str, **order: Any) -> httpx.Response:
        return self.client.post(f"{self.path}/stages/{stage}/control", json=order)

    def stage(self, stage: str) -> dict[str, Any]:
        return dict(self.client.get(f"{self.path}/stages/{stage}").json())

    def statuses(self) -> dict[str, str]:
        stages = self.client.get(self.path).json()["stages"]
        return {name: stage["state"] for name, stage in stages.items()}

    def wait_for_planned(self) -> None:
        """Wait until every stage of a preset has begun."""
        deadline = time.monotonic() + 300
        while planned := self.client.get(self.path).json()["planned"]:
            assert time.monotonic() < deadline, planned
            time.sleep(0.1)

    def events(self, stage: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Of the newest run, until it ends."""
        return read_events(self.client, f"{self.path}/stages/{stage}/progress", silence=300)

    def wait(self, stage: str) -> dict[str, Any]:
        """Return the stage once it is completed."""
        kind, data = list(self.events(stage))[-1]
        assert kind == "completed", data
        return self.stage(stage)

    def run(self, stage: str, **parameters: Any) -> dict[str, Any]:
        self.begin(stage, **parameters)
        return self.wait(stage)

    def until_it_learns(self, stage: str) -> dict[str, Any]:
        """Return the first progress of a training that has taken a step."""
        return next(data for kind, data in self.events(stage) if kind == "progress" and "loss" in data)


def test_the_whole_expert_flow(client: httpx.Client, daemon: Daemon, recording: Path) -> None:
    with recording.open("rb") as sound:
        file_id = client.post("/api/v1/files", files={"file": ("a.wav", sound)}).json()["id"]
    body = {"exp_name": "expert", "version": "nano", "language": "en", "audio_file_id": file_id}
    expert = Expert(client, client.post("/api/v1/experiments", json=body).json()["id"])

    prepare(expert)
    cancel(expert, daemon)
    pause_and_resume(expert, daemon)
    end_early(expert)
    spoken = expert.run("test_inference", target_text="This voice was made by an expert.", target_language="en")

    assert spoken["outputs"]["seconds"] > 0.5
    assert set(expert.statuses().values()) == {"completed"}
    assert client.delete(expert.path).json()["success"] is True
    assert not (daemon.data / "storage" / "experiments" / expert.exp_id).exists()


def prepare(expert: Expert) -> None:
    """Cut twice, with another parameter; what was made of the first cut is stale, and a preset makes it anew."""
    refused = expert.client.post(f"{expert.path}/stages/sovits_train")
    assert refused.json()["error"]["details"]["unmet"] == ["text_feature", "semantic_token"]
    first = expert.run("audio_slice", min_length=6000)
    assert expert.statuses()["convert"] == "completed"
    expert.run("hubert_feature")

    again = expert.begin("slice_audio", min_length=2000, min_interval=100)

    assert again["rerun"] is True
    assert again["previous_run"]["outputs"] == first["outputs"]
    assert expert.wait("audio_slice")["outputs"]["segments"] > first["outputs"]["segments"]
    assert expert.statuses()["hubert_feature"] == "stale"
    preset = expert.client.post(f"{expert.path}/presets/feature_extraction", json={"asr": {"language": "en"}})
    assert preset.status_code == 200, preset.text
    expert.wait_for_planned()
    for stage in ("asr", "hubert_feature", "semantic_token"):
        expert.wait(stage)
    texts = expert.wait("text_feature")
    assert texts["outputs"]["transcripts"] > 0
    log = expert.client.get(f"{expert.path}/stages/asr/logs").json()
    assert any("Claimed the job" in line["message"] for line in log["items"])


def cancel(expert: Expert, daemon: Daemon) -> None:
    """Check that a cancelled training stops, and that another one may begin at once."""
    expert.begin("gpt_train", total_epoch=MANY)
    expert.until_it_learns("gpt_train")

    assert expert.client.delete(f"{expert.path}/stages/gpt_train").status_code == 200

    assert [kind for kind, _ in expert.events("gpt_train")][-1] == "cancelled"
    assert expert.begin("gpt_train", total_epoch=MANY, batch_size=4, save_every_epoch=MANY)["rerun"] is True
    assert len(trainings(daemon)) <= 1


def pause_and_resume(expert: Expert, daemon: Daemon) -> None:
    """Check that a training pauses, frees its process, asks before it goes on otherwise, and counts every step once."""
    expert.until_it_learns("gpt_train")
    assert expert.control("gpt_train", action="pause").status_code == 200
    assert [kind for kind, _ in expert.events("gpt_train")][-1] == "paused"
    paused = expert.stage("gpt_train")
    assert (paused["status"], paused["state"], trainings(daemon)) == ("running", "paused", [])
    steps = len(metrics(daemon, expert, "gpt_2"))
    epochs = paused["metrics"]["epoch"]

    refused = expert.control("gpt_train", action="resume", parameters={"total_epoch": epochs})
    resumed = expert.control("gpt_train", action="resume", parameters={"total_epoch": epochs}, confirm=True)

    assert refused.status_code == 409
    assert refused.json()["error"]["details"] == {"changed": {"total_epoch": {"before": MANY, "now": epochs}}}
    assert resumed.status_code == 200, resumed.text
    trained = expert.wait("gpt_train")
    recorded_steps = [line["step"] for line in metrics(daemon, expert, "gpt_2")]
    assert recorded_steps == list(range(1, len(recorded_steps) + 1)), "every step was taken once"
    assert len(recorded_steps) >= steps > 0
    assert trained["outputs"]["metrics"]["epochs"] == epochs
    assert trained["outputs"]["model_path"].startswith("checkpoints/")


def end_early(expert: Expert) -> None:
    """Check that a training of many epochs ends with the one that it is in."""
    expert.begin("sovits_train", total_epoch=MANY, batch_size=32, save_every_epoch=MANY)
    learnt = expert.until_it_learns("sovits_train")
    assert expert.control("sovits_train", action="stop_after_epoch").status_code == 200

    trained = expert.wait("sovits_train")

    assert learnt["epoch"] <= trained["outputs"]["metrics"]["epochs"] < MANY
    assert expert.client.get(expert.path).json()["status"] == "completed"


def metrics(daemon: Daemon, expert: Expert, folder: str) -> list[dict[str, Any]]:
    path = daemon.data / "storage" / "experiments" / expert.exp_id / folder / "metrics.jsonl"
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def trainings(daemon: Daemon) -> list[int]:
    """Return the processes that train."""
    return [pid for pid in descendants(daemon.process.pid) if b".train\0" in command_line(pid)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
