"""A limiter of true peaks: those of the curve through the samples, which lie between them."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

OVERSAMPLING: Final = 8
"""Points of the curve that are examined for each sample, twice those of BS.1770-4."""
SIDE_TAPS: Final = 24
"""Samples on either side of a point from which it is interpolated."""
ATTACK_SECONDS: Final = 0.005
"""How long before and after a peak the gain moves; the gain is never lower than needed for longer."""
MARGIN_DB: Final = 0.25
"""What the curve may exceed between the points that are examined, and by rounding."""


class PeakLimiter:
    """Turns a stream down, smoothly, where its true peak would exceed a ceiling; elsewhere it changes nothing."""

    def __init__(self, sample_rate: int, ceiling_db: float) -> None:
        """`ceiling_db`: dBTP that are not exceeded."""
        self._ceiling = 10 ** ((ceiling_db - MARGIN_DB) / 20)
        self._attack = round(sample_rate * ATTACK_SECONDS)
        self._context = SIDE_TAPS + 1 + 2 * self._attack
        """Samples on either side that the gain of one depends on."""
        self._buffer = np.zeros(self._context)
        """What was returned before, as far as the next sample depends on it, and what was not returned yet."""

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """Return samples (N,) that can be returned now: all but the last ones."""
        self._buffer = np.concatenate([self._buffer, samples])
        return self._take(len(self._buffer) - 2 * self._context)

    def flush(self) -> np.ndarray:
        """Return the rest, as if silence followed."""
        count = len(self._buffer) - self._context
        self._buffer = np.concatenate([self._buffer, np.zeros(self._context)])
        rest = self._take(count)
        self._buffer = self._buffer[: self._context]
        return rest

    def _take(self, count: int) -> np.ndarray:
        if count <= 0:
            return np.zeros(0)
        context, buffer = self._context, self._buffer[: count + 2 * self._context]
        samples: np.ndarray = buffer[context : context + count]
        self._buffer = self._buffer[count:]
        # Of the first and the last SIDE_TAPS + 1 samples no curve is known; what is returned does not depend on them.
        needed = self._ceiling / np.maximum(_true_peaks(buffer)[SIDE_TAPS + 1 : -SIDE_TAPS - 1], self._ceiling)
        if float(needed.min(initial=1.0)) == 1.0:  # nothing to turn down
            return samples
        width = 2 * self._attack + 1
        weights = np.hanning(width + 2)[1:-1]
        gains = np.convolve(_sliding_minimum(needed, width), weights / weights.sum(), mode="valid")
        limited: np.ndarray = samples * gains
        return limited


def true_peak_db(samples: np.ndarray) -> float:
    """Return the true peak, in dBTP, of samples (N,) within ±1; −inf for silence."""
    highest = float(_true_peaks(samples).max(initial=0.0))
    return 20 * float(np.log10(highest)) if highest > 0 else float("-inf")


def _true_peaks(samples: np.ndarray) -> np.ndarray:
    """Return for each sample (N,) the largest magnitude of the curve from the sample before to the one behind."""
    peaks: np.ndarray = np.abs(samples)
    if not len(samples):
        return peaks
    between = np.zeros(len(samples) + 1)
    """The largest between each two samples, beginning with what is before the first."""
    for weights in _interpolation():
        # "full" has the point before the first sample at SIDE_TAPS − 1.
        curve = np.convolve(samples, weights, mode="full")[SIDE_TAPS - 1 : SIDE_TAPS + len(samples)]
        np.maximum(between, np.abs(curve), out=between)
    highest: np.ndarray = np.maximum(peaks, np.maximum(between[:-1], between[1:]))
    return highest


@lru_cache(maxsize=1)
def _interpolation() -> tuple[np.ndarray, ...]:
    """Return the weights (2 · SIDE_TAPS,), last sample first, of the points between two samples."""
    weights = []
    for point in range(1, OVERSAMPLING):
        # Distance from the point of each sample, from the last to the first.
        distance = np.arange(SIDE_TAPS, -SIDE_TAPS, -1) - point / OVERSAMPLING
        window = np.cos(np.pi * distance / (2 * (SIDE_TAPS + 1))) ** 2
        weights.append(np.sinc(distance) * window)
    return tuple(weights)


def _sliding_minimum(samples: np.ndarray, width: int) -> np.ndarray:
    """Return the smallest of each `width` neighbors, (N − width + 1,)."""
    smallest, covered = samples, 1
    while covered < width:
        step = min(covered, width - covered)
        smallest = np.minimum(smallest[:-step], smallest[step:])
        covered += step
    return smallest
