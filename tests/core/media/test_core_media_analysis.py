"""What is said of a recording before a training."""

from __future__ import annotations

import tracemalloc

import numpy as np
from numpy.typing import NDArray

from core.media.analysis import analyze

RATE = 16_000
GENERATOR = np.random.default_rng(5)


def speech(seconds: float, level: float = 0.3, noise: float = 0.0005) -> NDArray[np.int16]:
    """Return bursts of a tone, 0.8 s of each second, above a noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    bursts = np.sin(2 * np.pi * 200 * time) * (time % 1 < 0.8) * level
    samples = bursts + noise * GENERATOR.standard_normal(len(time))
    return np.asarray(np.clip(samples, -1, 1) * 32767, np.int16)


def test_a_clean_recording_has_no_problem() -> None:
    analysis = analyze(speech(60), RATE, original_rate=RATE)

    assert analysis.problems == ()
    assert analysis.duration_seconds == 60
    assert 46 < analysis.speech_seconds < 50
    assert -11 < analysis.peak_db < -10
    assert -67 < analysis.noise_db < -65, "20 · log10(0.0005) = -66"


def test_each_problem_is_named() -> None:
    loud = np.asarray(np.clip(speech(60, 0.9).astype(np.float64) * 2, -32768, 32767), np.int16)
    pause = np.zeros(60 * RATE, np.int16)

    assert analyze(loud, RATE, original_rate=RATE).problems == ("clipped",)
    assert analyze(speech(60, 0.02), RATE, original_rate=RATE).problems == ("too_quiet",)
    assert analyze(speech(60, noise=0.03), RATE, original_rate=RATE).problems == ("noisy",)
    assert analyze(speech(20), RATE, original_rate=RATE).problems == ("short",)
    assert analyze(speech(60), RATE, original_rate=8000).problems == ("low_rate",)
    assert "little_speech" in analyze(np.concatenate([speech(10), pause]), RATE, original_rate=RATE).problems


def test_samples_cut_off_below_full_scale_are_clipped_too() -> None:
    clipped = np.clip(speech(60, 0.9), -20_000, 20_000)

    assert "clipped" in analyze(clipped, RATE, original_rate=RATE).problems


def test_a_long_recording_is_measured_in_bounded_memory_and_as_if_it_were_one_piece() -> None:
    minutes = np.tile(speech(60, 0.9), 20)
    for place in range(1 << 20, len(minutes), 1 << 20):
        minutes[place - 2 : place + 2] = 32_767  # four clipped samples, half of them in either block
    tracemalloc.start()
    analysis = analyze(minutes, RATE, original_rate=RATE)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert analysis.clipped_share == round(4 * (len(minutes) // (1 << 20)) / len(minutes), 6) > 0
    assert analysis.speech_db == analyze(minutes[: 60 * RATE], RATE, original_rate=RATE).speech_db
    assert peak_bytes < minutes.nbytes / 2


def test_nothing_and_silence_are_measured_without_an_error() -> None:
    for samples in (np.zeros(0, np.int16), np.zeros(RATE, np.int16)):
        analysis = analyze(samples, RATE, original_rate=RATE)
        assert (analysis.peak_db, analysis.noise_db, analysis.clipped_share) == (-90.3, -90.0, 0.0)
        assert "too_quiet" in analysis.problems
