"""Pipelines of voices of random weights, and a recording to prompt them with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bundled_speech import models as models
from tiny_voices import VoiceFiles, write_tiny_voice, write_voice

from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> VoiceFiles:
    """Return the nano recipe with random weights."""
    return write_voice(tmp_path_factory.mktemp("nano"), "nano", load_config("nano_gpt"), load_config("nano"))


@pytest.fixture(scope="session")
def tiny_voice(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], VoiceFiles]:
    """Write a tiny voice of an official version."""
    return lambda version: write_tiny_voice(tmp_path_factory.mktemp(version), version)


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three and a half seconds of a tone."""
    path = tmp_path_factory.mktemp("recording") / "prompt.wav"
    write_wav(path, 0.3 * np.sin(np.arange(56_000) / 20).astype(np.float32), 16_000)
    return path


@pytest.fixture(scope="session")
def pipeline(voice: VoiceFiles) -> Pipeline:
    """nano."""
    return Pipeline.load(*voice)


@pytest.fixture(scope="session")
def prompt(pipeline: Pipeline, recording: Path) -> EncodedPrompt:
    return pipeline.prepare_prompt(recording, "Good morning.", "en", tokens=list(range(20)))


@pytest.fixture(scope="session")
def tiny(tiny_voice: Callable[[str], VoiceFiles]) -> Pipeline:
    """v2 in miniature."""
    return Pipeline.load(*tiny_voice("v2"))


@pytest.fixture(scope="session")
def tiny_prompt(tiny: Pipeline, recording: Path) -> EncodedPrompt:
    return tiny.prepare_prompt(recording, "Good morning.", "en", tokens=list(range(20)))
