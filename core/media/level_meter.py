"""Level and silences of a recording."""

from __future__ import annotations

import math
from typing import Any

FRAME_SECONDS = 0.05
SILENCE = 10 ** (-50 / 20)
"""RMS of −50 dB of full scale; a frame below it is silent."""


class LevelMeter:
    """Measures peak, RMS and silences of a mono stream, frame by frame; a constant offset counts as silence."""

    def __init__(self) -> None:
        self.frame_length = 1
        self.peak = 0.0
        self.energy = 0.0
        self.samples = 0
        self.loudest = 0.0
        self.sounding = 0
        self.silent_run = 0
        self.longest_silent_run = 0

    def add(self, samples: Any) -> None:
        """Add samples, float of shape (T,): a whole number of frames, except in the last call."""
        import numpy as np

        samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        self.peak = max(self.peak, float(np.abs(samples).max(initial=0.0)))
        self.energy += float(np.square(samples, dtype=np.float64).sum())
        self.samples += len(samples)
        whole = len(samples) // self.frame_length * self.frame_length
        for deviation in samples[:whole].reshape(-1, self.frame_length).std(axis=1).tolist():
            self.loudest = max(self.loudest, deviation)
            if deviation >= SILENCE:
                self.sounding += 1
                self.silent_run = 0
            else:
                self.silent_run += 1
                self.longest_silent_run = max(self.longest_silent_run, self.silent_run)

    @property
    def silent(self) -> bool:
        """Whether nothing was loud enough to be heard."""
        return self.loudest < SILENCE

    def report(self) -> dict[str, float | bool]:
        """Return the measurements as they are printed for `core.media.decode`."""
        return {
            "peak": self.peak,
            "rms": math.sqrt(self.energy / self.samples) if self.samples else 0.0,
            "silent": self.silent,
            "sounding_seconds": round(self.sounding * FRAME_SECONDS, 3),
            "longest_silence_seconds": round(self.longest_silent_run * FRAME_SECONDS, 3),
        }
