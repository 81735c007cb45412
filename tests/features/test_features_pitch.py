"""Pitch is found where there is one, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from GPT_SoVITS.features.pitch import pitch

RATE, HOP = 16_000, 320


def tone(hertz: float, seconds: float = 0.5) -> np.ndarray:
    """Return a sawtooth without its harmonics above 4 kHz."""
    t = np.arange(int(seconds * RATE)) / RATE
    harmonics = range(1, int(4000 / hertz) + 1)
    return 0.1 * np.sum([np.sin(2 * np.pi * hertz * k * t) / k for k in harmonics], axis=0).astype(np.float32)


@given(hertz=st.floats(70, 450))
@settings(max_examples=20)
def test_the_pitch_of_a_tone_is_its_frequency(hertz):
    f0 = pitch(tone(hertz), RATE, HOP)[2:-2]

    assert f0 == pytest.approx(hertz, rel=0.01)


def test_noise_and_silence_have_no_pitch():
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)

    assert not pitch(noise, RATE, HOP).any()
    assert not pitch(np.zeros(RATE, np.float32), RATE, HOP).any()


def test_a_tone_that_stops_is_voiced_only_while_it_sounds():
    samples = np.concatenate([tone(200), np.zeros(RATE // 2, np.float32)])

    f0 = pitch(samples, RATE, HOP)

    assert (f0[2:23] > 0).all()
    assert not f0[27:].any()


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 961])
def test_there_is_one_value_a_hop(samples):
    assert pitch(np.zeros(samples, np.float32), RATE, HOP).shape == (samples // HOP,)
