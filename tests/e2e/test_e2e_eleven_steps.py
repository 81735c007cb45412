"""The client of the eleven-step service, as it is in docs/clients, trains a voice from three files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import soundfile

from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CLIENT = Path(__file__).resolve().parents[2] / "docs" / "clients" / "eleven_steps.py"
SECONDS = 5


@pytest.fixture(scope="module")
def three_files(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the recording in three pieces."""
    samples, rate = soundfile.read(recording, dtype="int16")
    folder = tmp_path_factory.mktemp("three")
    paths = [folder / f"{name}.wav" for name in ("one", "two", "three")]
    for number, path in enumerate(paths):
        soundfile.write(path, samples[number * SECONDS * rate : (number + 1) * SECONDS * rate], rate)
    return paths


def test_the_client_runs_all_eleven_steps_to_a_voice(
    daemon: Daemon, client: httpx.Client, three_files: list[Path], tmp_path: Path
) -> None:
    short = {"EPOCHS_S2": "1", "EPOCHS_S1": "1", "BATCH_SIZE": "8", "POLL_SECONDS": "0.2"}
    settings = {"BASE": daemon.url, "KEY": "", **short}

    ran = subprocess.run(
        [sys.executable, str(CLIENT), "eleven", *map(str, three_files)],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=1700,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr + daemon.log.read_text()[-3000:]
    lines = ran.stdout.splitlines()
    task = lines[0].removeprefix("task ")
    shown = client.get(f"/api/v1/task/{task}").json()
    assert [line for line in lines if line.startswith("uploaded")] == [
        "uploaded one.wav",
        "uploaded two.wav",
        "uploaded three.wav",
    ]
    assert {step["status"] for step in shown["steps"]} == {"completed"}
    assert (shown["status"], shown["progress"], shown["current_step"]) == ("completed", 100.0, "test_inference")
    assert any("shifted by one name" in line for line in lines)
    assert any("nano needs no extract_speaker_vectors" in line for line in lines)
    assert any("float16 runs as float32" in line for line in lines)
    assert len(list(tmp_path.glob("eleven_*"))) == 2, "one file of each model was downloaded"
    spoken = soundfile.info(tmp_path / "sample.wav")
    assert (spoken.format, spoken.duration > 0.5) == ("WAV", True)
    log = client.get(f"/api/v1/task/{task}/logs").json()
    assert any("shifted by one name" in line["message"] for line in log["logs"])
