"""Loudness of training recordings and references (specification s2-sovits §19, §22.1): numpy alone."""

from __future__ import annotations

import numpy as np

from GPT_SoVITS.audio import resample
from GPT_SoVITS.errors import ModelError

TRAINING_RATE = 32_000
CONTENT_RATE = 16_000
LOUDEST = 2.2
"""A peak above this is a broken recording."""
PEAK, MIX = 0.95, 0.5
"""Half of the recording brought to this peak, half as it was."""
CONTENT_SCALE = 1145.14
"""HuBERT hears training recordings this much louder than [-1, 1]; its first norm takes it out again."""


def training_sound(samples: np.ndarray) -> np.ndarray:
    """(N,) float32 at 32 kHz -> (N,) int16 for `5-wav32k`. Clipped: the original wraps round above a peak of 1.05."""
    return np.clip(_mixed(samples, 32768.0), -32768, 32767).astype(np.int16)


def content_sound(samples: np.ndarray) -> np.ndarray:
    """(N,) float32 at 32 kHz -> (ceil(N / 2),) float32 at 16 kHz for HuBERT."""
    return resample(_mixed(samples, CONTENT_SCALE), TRAINING_RATE, CONTENT_RATE)


def reference_sound(samples: np.ndarray) -> np.ndarray:
    """A reference whose peak is above 1 is divided by it, by 2 at most (§19)."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples / min(2.0, peak) if peak > 1.0 else samples


def _mixed(samples: np.ndarray, scale: float) -> np.ndarray:
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0.0:
        raise ModelError("bad_audio", "The recording is silent.")
    if not peak <= LOUDEST:  # NaN, too
        raise ModelError("bad_audio", f"The recording's peak is {peak:.2f}; {LOUDEST} is the most that can be used.")
    return (samples / peak * (PEAK * MIX * scale) + (1 - MIX) * scale * samples).astype(np.float32)
