"""Recordings as users make them: what the style encoder hears may be noisy, in a room, or from a telephone."""

from __future__ import annotations

import random
from typing import Final

import numpy as np

from GPT_SoVITS.audio import resample
from GPT_SoVITS.dataset.augment import add_noise, add_room

RATE: Final = 16_000
CLEAN_SHARE: Final = 0.4
NOISE_DB: Final = (8.0, 35.0)
ROOM_SECONDS: Final = (0.15, 0.7)
NARROW_RATES: Final = (8_000, 11_025)


def as_recorded(samples: np.ndarray, generator: random.Random) -> np.ndarray:
    """Return (N,) float32 at 16 kHz with noise, a room or a narrow band, or as it is, at any level."""
    if generator.random() < CLEAN_SHARE:
        return samples
    numpy_generator = np.random.default_rng(generator.getrandbits(32))
    if generator.random() < 0.4:
        samples = add_room(samples, RATE, generator.uniform(*ROOM_SECONDS), numpy_generator)
    if generator.random() < 0.25:
        narrow = generator.choice(NARROW_RATES)
        length = len(samples)
        samples = resample(resample(samples.astype(np.float32), RATE, narrow), narrow, RATE)
        samples = np.pad(samples, (0, max(0, length - len(samples))))[:length]
    if generator.random() < 0.6:
        samples = add_noise(samples, RATE, generator.uniform(*NOISE_DB), numpy_generator)
    level = generator.uniform(0.4, 1.2)
    return np.clip(samples * level, -1.0, 1.0).astype(np.float32)
