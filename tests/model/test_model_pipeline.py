"""The pipeline with a tiny voice of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.checkpoint import save_checkpoint
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.pipeline import Pipeline, Prompt, limit_peak
from GPT_SoVITS.sovits.model import SoVITS

SENTENCE = "Hello there, my friend."


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The nano recipe with random weights."""
    folder = tmp_path_factory.mktemp("voice")
    torch.manual_seed(1)
    gpt, sovits = load_config("nano_gpt"), load_config("nano")
    save_checkpoint(
        folder / "gpt.safetensors",
        kind="gpt",
        version="nano",
        config=gpt,
        state=Text2Semantic(gpt).state_dict(),
        info={},
    )
    save_checkpoint(
        folder / "sovits.safetensors",
        kind="sovits",
        version="nano",
        config=sovits,
        state=SoVITS.from_config(sovits).voice_state(),
        info={},
    )
    return folder / "gpt.safetensors", folder / "sovits.safetensors"


@pytest.fixture(scope="module")
def pipeline(voice: tuple[Path, Path]) -> Pipeline:
    return Pipeline.load(*voice)


@pytest.fixture(scope="module")
def prompt(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Prompt:
    path = tmp_path_factory.mktemp("prompt") / "prompt.wav"
    write_wav(path, 0.3 * np.sin(np.arange(48_000) / 20).astype(np.float32), 16_000)
    return pipeline.prepare_prompt(path, "Good morning.", "en", encoder=None, tokens=list(range(20)))


def test_the_same_seed_gives_the_same_samples(pipeline: Pipeline, prompt: Prompt) -> None:
    first = pipeline.speak(SENTENCE, "en", prompt, seed=7)
    torch.manual_seed(99)  # whatever else the process draws
    second = pipeline.speak(SENTENCE, "en", prompt, seed=7)
    other = pipeline.speak(SENTENCE, "en", prompt, seed=8)

    np.testing.assert_array_equal(first.samples, second.samples)
    assert len(other.samples) != len(first.samples) or not np.allclose(other.samples, first.samples)


def test_a_token_lasts_forty_milliseconds(pipeline: Pipeline, prompt: Prompt) -> None:
    speech = pipeline.speak(SENTENCE, "en", prompt, seed=7)

    assert len(speech.samples) == speech.tokens * speech.sample_rate // 25


def test_twice_the_speed_takes_half_the_time(pipeline: Pipeline, prompt: Prompt) -> None:
    plain = pipeline.speak(SENTENCE, "en", prompt, seed=7)
    fast = pipeline.speak(SENTENCE, "en", prompt, seed=7, speed=2.0)

    assert len(fast.samples) == pytest.approx(len(plain.samples) / 2, abs=2 * 320)


def test_speech_that_lost_its_way_is_cut_off(pipeline: Pipeline, prompt: Prompt) -> None:
    speech = pipeline.speak("One.", "en", prompt, seed=7)

    assert len(speech.samples) / speech.sample_rate < 20.0


def test_two_checkpoints_of_one_kind_are_refused(voice: tuple[Path, Path]) -> None:
    with pytest.raises(ModelError, match="A sovits checkpoint was expected; this one is a gpt"):
        Pipeline.load(voice[0], voice[0])


def test_a_prompt_that_is_too_short_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    write_wav(tmp_path / "short.wav", np.zeros(8_000, np.float32), 16_000)

    with pytest.raises(ModelError, match=r"lasts 0\.5 s"):
        pipeline.prepare_prompt(tmp_path / "short.wav", "", "en", encoder=None, tokens=[1])


def test_what_would_clip_is_scaled_down_and_nothing_else() -> None:
    np.testing.assert_allclose(limit_peak(np.array([0.5, -2.0], np.float32)), [0.25, -1.0])
    np.testing.assert_allclose(limit_peak(np.array([0.1], np.float32)), [0.1])
