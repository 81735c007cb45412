"""The whole daemon with its real roles, on a data folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import soundfile

from scripts.demo_daemon import Daemon

RECORDING = Path(__file__).resolve().parents[2] / "prompts" / "allison" / "recording.flac"
SECONDS = 16
"""Enough for several segments; what is trained on them nobody listens to."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Every checkpoint speaks one sentence, since each costs seconds."""
    folder = tmp_path_factory.mktemp("daemon")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("EVALUATION_SENTENCES", "1")
        with Daemon(folder / "data", folder / "daemon.log") as running:
            yield running


@pytest.fixture(scope="module")
def client(daemon: Daemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.url, timeout=120) as connected:
        yield connected


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the beginning of the bundled recording."""
    samples, rate = soundfile.read(RECORDING, frames=SECONDS * 16_000, dtype="int16")
    path = tmp_path_factory.mktemp("recording") / "recording.wav"
    soundfile.write(path, samples, rate)
    return path
