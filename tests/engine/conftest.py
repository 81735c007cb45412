"""Engines, and voices of random weights for them to speak in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_voices import write_tiny_voice, write_voice

from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.engine.speech_engine import SpeechEngine
from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three and a half seconds of a tone."""
    path = tmp_path_factory.mktemp("recording") / "prompt.wav"
    write_wav(path, 0.3 * np.sin(np.arange(56_000) / 20).astype(np.float32), 16_000)
    return path


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """nano with random weights."""
    return Pipeline.load(
        *write_voice(tmp_path_factory.mktemp("nano"), "nano", load_config("nano_gpt"), load_config("nano"))
    )


@pytest.fixture(scope="session")
def nano_prompt(nano: Pipeline, recording: Path) -> EncodedPrompt:
    return nano.prepare_prompt(recording, "Good morning.", "en")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """v2 in miniature."""
    return Pipeline.load(*write_tiny_voice(tmp_path_factory.mktemp("v2"), "v2"))


@pytest.fixture(scope="session")
def tiny_prompt(tiny: Pipeline, recording: Path) -> EncodedPrompt:
    return tiny.prepare_prompt(recording, "Good morning.", "en", tokens=list(range(20)))


@pytest.fixture
def engine() -> Iterator[SpeechEngine]:
    engine = SpeechEngine(threads=1)
    yield engine
    engine.close()
