"""Change of the sample rate."""

from __future__ import annotations

import numpy as np
import pytest

from core.media.resample import Resampler


def sine(rate: int, hertz: float, seconds: float = 1.0) -> np.ndarray:
    times = np.arange(round(rate * seconds)) / rate
    return 0.5 * 32767 * np.sin(2 * np.pi * hertz * times)


@pytest.mark.parametrize(("source", "target"), [(16_000, 24_000), (32_000, 24_000), (48_000, 8_000), (24_000, 44_100)])
@pytest.mark.parametrize("piece", [317, 100_000])
def test_a_tone_stays_what_it_was(source: int, target: int, piece: int) -> None:
    samples = sine(source, 1_000.0).astype("<i2").tobytes()
    resampler = Resampler(source, target)

    pieces = [resampler.feed(samples[start : start + 2 * piece]) for start in range(0, len(samples), 2 * piece)]
    resampled = np.frombuffer(b"".join([*pieces, resampler.finish()]), "<i2").astype(float)

    assert abs(len(resampled) - target) <= 1
    middle = slice(target // 10, -target // 10)
    error = resampled[: target - 1] - sine(target, 1_000.0)[: target - 1]
    assert np.sqrt(np.mean(error[middle] ** 2)) < 2.0, "more than the rounding to 16 bits"


def test_what_the_lower_rate_cannot_hold_is_removed() -> None:
    resampler = Resampler(48_000, 16_000)

    resampled = resampler.feed(sine(48_000, 12_000.0).astype("<i2").tobytes()) + resampler.finish()

    assert np.abs(np.frombuffer(resampled, "<i2")[800:-800]).max() <= 2
