"""One real voice, and Whisper joined once for all tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from GPT_SoVITS.audio import read_mono, write_wav
from GPT_SoVITS.features.whisper_model import model_folder

PROMPTS = Path(__file__).resolve().parents[2] / "prompts"
RATE = 16_000


@pytest.fixture(scope="session")
def voice() -> np.ndarray:
    """The bundled prompt, 16 kHz: 'The number you have dialed is not in service. …'"""
    samples, rate = read_mono(PROMPTS / "allison" / "prompt.wav")
    assert rate == RATE
    return samples


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    model_folder(folder)
    return folder


@pytest.fixture
def voice_file(voice: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "voice.wav"
    write_wav(path, voice, RATE)
    return path
