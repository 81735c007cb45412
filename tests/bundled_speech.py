"""The speech that comes with the product: one speaker's recording in parts, and the prompt cut from it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from GPT_SoVITS.audio import read_mono, write_wav
from GPT_SoVITS.features.whisper_model import model_folder

ALLISON = Path(__file__).resolve().parents[1] / "prompts" / "allison"
RATE = 16_000


@lru_cache(maxsize=1)
def recording() -> np.ndarray:
    """(N,) float32 at 16 kHz: one speaker, 90 s."""
    samples, rate = soundfile.read(str(ALLISON / "recording.flac"), dtype="float32")
    assert rate == RATE
    return samples


def piece(start: float, seconds: float) -> np.ndarray:
    """Return a part of the recording."""
    return recording()[round(start * RATE) : round((start + seconds) * RATE)]


PIECES: dict[str, tuple[float, float, str]] = {
    "announce.wav": (
        53.46,
        7.84,
        "All of our representatives are currently busy. Please stay on the line and your call will be answered by the "
        "next available representative.",
    ),
    "busy.wav": (
        61.9,
        8.97,
        "All representatives of the household are currently assisting other telemarketers. Please hold, and your call "
        "will be answered in the order it was received.",
    ),
    "nogo.wav": (
        71.47,
        10.51,
        "I'm afraid I was unable to create a connection to the Digium demonstration Asterisk server. You may find "
        "some helpful debugging information on the Asterisk console.",
    ),
    "prepend.wav": (
        82.58,
        7.1,
        "At the tone, please record an introduction to the forwarded message. When done, press the pound sign.",
    ),
}
"""Name → start, seconds, what is said."""


def speech(name: str) -> np.ndarray:
    start, seconds, _ = PIECES[name]
    return piece(start, seconds)


@pytest.fixture(scope="session")
def voice() -> np.ndarray:
    """Return the bundled prompt, 16 kHz: 'The number you have dialed is not in service. …'"""
    samples, rate = read_mono(ALLISON / "prompt.wav")
    assert rate == RATE
    return samples


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which Whisper is put together once for all tests."""
    folder = tmp_path_factory.mktemp("models")
    model_folder(folder)
    return folder


@pytest.fixture
def voice_file(voice: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "voice.wav"
    write_wav(path, voice, RATE)
    return path
