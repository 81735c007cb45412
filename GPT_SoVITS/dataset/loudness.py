"""The loudness of training recordings (docs/spec/s2-sovits.md §22.1 and §23), in NumPy alone."""

from __future__ import annotations

import numpy as np

from GPT_SoVITS.audio import peak, resample
from GPT_SoVITS.errors import ModelError

TRAINING_RATE = 32_000
"""Hz."""
CONTENT_RATE = 16_000
"""Hz."""
MAX_PEAK = 2.2
"""A peak above this is a broken recording."""
TARGET_PEAK, MIX = 0.95, 0.5
"""Half of the recording brought to this peak, half as it was."""
CONTENT_SCALE = 1145.14
"""HuBERT gets training recordings this much louder than [-1, 1]; its first norm takes it out again."""


def training_audio(samples: np.ndarray) -> np.ndarray:
    """Return (N,) int16 for `5-wav32k` of (N,) float32 at 32 kHz.

    Clipped, where upstream wraps round above a peak of 1.05. Raises ModelError `bad_audio`.
    """
    pcm: np.ndarray = np.clip(_mix(samples, 32768.0), -32768, 32767).astype(np.int16)
    return pcm


def content_audio(samples: np.ndarray) -> np.ndarray:
    """Return (ceil(N / 2),) float32 at 16 kHz for HuBERT of (N,) float32 at 32 kHz; raise ModelError `bad_audio`."""
    return resample(_mix(samples, CONTENT_SCALE), TRAINING_RATE, CONTENT_RATE)


def _mix(samples: np.ndarray, scale: float) -> np.ndarray:
    highest = peak(samples)
    if highest == 0.0:
        raise ModelError("bad_audio", "The recording is silent.")
    if not highest <= MAX_PEAK:  # NaN, too
        raise ModelError(
            "bad_audio", f"The recording's peak is {highest:.2f}; {MAX_PEAK} is the most that can be used."
        )
    return (samples / highest * (TARGET_PEAK * MIX * scale) + (1 - MIX) * scale * samples).astype(np.float32)


def mix_loudness(samples: np.ndarray, target_peak: float, mix: float) -> np.ndarray:
    """Return (N,) int16 of (N,) float: a share `mix` of the clip brought to `target_peak`, the rest as it was (§23)."""
    highest = np.abs(samples).max(initial=0.0)
    if highest == 0.0:
        return np.zeros(samples.shape, np.int16)
    limited = samples / highest if highest > 1.0 else samples
    # By the peak before the limiting, as upstream; clipped where that goes beyond full scale.
    mixed = limited / highest * (target_peak * mix) + (1 - mix) * limited
    pcm: np.ndarray = np.clip(mixed * 32767, -32768, 32767).astype(np.int16)
    return pcm
