"""The speech of LiveKit's and Pipecat's agents, by their own packages, against the whole daemon."""

from __future__ import annotations

import os
import subprocess
import wave
from pathlib import Path

import pytest

from scripts.demo_daemon import Daemon

REPOSITORY = Path(__file__).resolve().parents[2]
CLIENTS = REPOSITORY / "docs" / "clients"
PYTHON = REPOSITORY / ".cache" / "voice-agents" / "bin" / "python"
"""Of an environment of their own: they need other versions of some packages."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="docs/clients/voice-agents.txt says how to install their packages"),
]

TEXT = "Hello there. How are you today?"


@pytest.mark.parametrize(("program", "options"), [("livekit_speech.py", ["allison"]), ("pipecat_speech.py", [])])
def test_an_agent_speaks(contract_daemon: Daemon, tmp_path: Path, program: str, options: list[str]) -> None:
    finished = subprocess.run(
        [PYTHON, CLIENTS / program, *options, TEXT],
        cwd=tmp_path,
        env=os.environ | {"BASE": contract_daemon.url, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr[-2000:]
    assert "24000 Hz" in finished.stdout
    with wave.open(str(tmp_path / "speech.wav")) as file:
        assert (file.getframerate(), file.getnchannels()) == (24_000, 1)
        assert 1.0 < file.getnframes() / file.getframerate() < 6.0
        assert any(file.readframes(file.getnframes()))
