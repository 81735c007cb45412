"""Make `data_folder.tar.gz`, the data folder of a daemon that was killed in the middle of its work.

    cd CHECKOUT OF AN OLDER VERSION && .venv/bin/python …/make_data_folder.py OUTPUT.tar.gz

It holds a voice, a task whose speech recognition was running, and jobs that nobody had begun: a data set to import, a
speech job as WAV and one as MP3. The weights of the bundled base are left out; whoever unpacks it copies
them from `GPT_SoVITS/base/`.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import soundfile

CHECKOUT = Path.cwd()
SECONDS = 60.0
NAMES = {"voice": "before the upgrade", "task": "interrupted", "dataset": "waiting"}


def main(output: Path) -> None:
    """Run the checkout's daemon with a preprocessor only, kill it, and pack its data folder."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        environment = os.environ | {"DATA_PATH": str(data), "PORT": "0", "NUM_PREPROCESSORS": "1"}
        daemon = subprocess.Popen(
            [sys.executable, "main.py", "serve", "--roles", "preprocessor"], cwd=CHECKOUT, env=environment
        )
        try:
            announcement = data / "run" / "api.json"
            until(announcement.exists)
            with httpx.Client(base_url=json.loads(announcement.read_bytes())["url"], timeout=60) as client:
                until(lambda: answers(client))
                state = fill(client)
        finally:
            daemon.kill()
            daemon.wait()
        time.sleep(2)  # its children notice
        (data / "state.json").write_text(json.dumps(state, indent=2))
        with tarfile.open(output, "w:gz") as archive:
            archive.add(data, "data", filter=lambda member: None if left_out(member.name) else member)


def fill(client: httpx.Client) -> dict[str, Any]:
    """Make the voice, the task and the waiting jobs; return their ids."""
    bundled = checked(client.get("/api/v1/voices"))["items"][0]
    recording = upload(client, 0, 14)
    voice = checked(
        client.post(
            "/api/v1/voices",
            json={
                "name": NAMES["voice"],
                "gpt_checkpoint_id": bundled["gpt_checkpoint_id"],
                "sovits_checkpoint_id": bundled["sovits_checkpoint_id"],
                "prompts": [{"file_id": upload(client, 0, 5), "text": bundled["prompts"][0]["text"], "language": "en"}],
            },
        )
    )
    options = {"version": "nano", "language": "en", "quality": "fast"}
    task = checked(
        client.post("/api/v1/tasks", json={"exp_name": NAMES["task"], "audio_file_id": recording, "options": options})
    )
    until(lambda: stage_status(client, task["exp_id"], "asr") == "running")
    dataset = checked(
        client.post("/api/v1/datasets", json={"name": NAMES["dataset"], "language": "en", "file_ids": [recording]})
    )
    text = "This sentence waited for the upgrade. So did this one."
    speech = [
        checked(client.post("/api/v1/inference", json={"text": text, "voice": voice["id"], "format": audio_format}))
        for audio_format in ("wav", "mp3")
    ]
    assert stage_status(client, task["exp_id"], "asr") == "running"
    return {
        "voice_id": voice["id"],
        "task_id": task["id"],
        "experiment_id": task["exp_id"],
        "dataset_id": dataset["id"],
        "speech_ids": [job["id"] for job in speech],
        "checkpoints": {"gpt": bundled["gpt_checkpoint_id"], "sovits": bundled["sovits_checkpoint_id"]},
    }


def upload(client: httpx.Client, start: int, seconds: int) -> str:
    """Upload a part of the bundled recording and return its file id."""
    samples, rate = soundfile.read(CHECKOUT / "prompts" / "allison" / "recording.flac", dtype="int16")
    content = io.BytesIO()
    soundfile.write(content, samples[start * rate : (start + seconds) * rate], rate, format="FLAC")
    files = {"file": ("recording.flac", content.getvalue(), "audio/flac")}
    return str(checked(client.post("/api/v1/files", files=files))["id"])


def stage_status(client: httpx.Client, experiment_id: str, stage: str) -> str:
    """Return the status of an experiment's stage."""
    return str(checked(client.get(f"/api/v1/experiments/{experiment_id}/stages/{stage}"))["status"])


def checked(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON of a response that is no error."""
    assert response.is_success, response.text
    document: dict[str, Any] = response.json()
    return document


def answers(client: httpx.Client) -> bool:
    """Return whether the API is ready and the bundled voice is published."""
    try:
        return bool(client.get("/api/v1/voices").json()["items"])
    except (httpx.TransportError, KeyError):
        return False


def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def left_out(name: str) -> bool:
    """Return whether a file is no part of the fixture: weights, the downloaded recognizer, the password of that run."""
    return name.endswith(".safetensors") or name.startswith(("data/models", "data/run", "data/redis/redis.json"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
