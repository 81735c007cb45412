"""Loudness by ITU-R BS.1770-4 and EBU R128: a gated measure of mono samples, whole or as far as they are known."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np

HOP_SECONDS: Final = 0.1
"""A gating block of 0.4 s begins with each hop."""
HOPS_OF_BLOCK: Final = 4
ABSOLUTE_GATE: Final = -70.0
"""LUFS below which nothing counts."""
RELATIVE_GATE: Final = -10.0
"""LU below the mean of what is above the absolute gate."""
OFFSET: Final = -0.691
"""LUFS of a mean square of 1."""
FILTER_SECONDS: Final = 0.1
"""Length of the weighting filter's response, after which less than a billionth of it is left."""


class LoudnessMeter:
    """Measures the loudness of one voice, sample by sample."""

    def __init__(self, sample_rate: int) -> None:
        self.hop = round(sample_rate * HOP_SECONDS)
        """Samples of a hop."""
        self._response, self._size = _weighting(sample_rate)
        self._history = np.zeros(round(sample_rate * FILTER_SECONDS) - 1)
        """The samples before the next one, as many as the filter reads."""
        self._weighted = np.zeros(0)
        """Those of a hop that is not complete."""
        self._powers: list[float] = []

    @property
    def hops(self) -> int:
        """How many hops were measured."""
        return len(self._powers)

    def add(self, samples: np.ndarray) -> None:
        """Add samples (N,) within ±1."""
        step = self._size - len(self._history)
        for first in range(0, len(samples), step):
            window = np.concatenate([self._history, samples[first : first + step]])
            filtered = np.fft.irfft(np.fft.rfft(window, self._size) * self._response, self._size)
            self._add_weighted(filtered[len(self._history) : len(window)])
            self._history = window[len(window) - len(self._history) :]

    def end_hop(self) -> None:
        """End the current hop, complete or not: the next samples begin another one."""
        if len(self._weighted):
            self._powers.append(float(np.square(self._weighted).mean()))
            self._weighted = self._weighted[:0]

    def power(self, hop: int) -> float:
        """Return the mean square of a hop, as it is heard."""
        return self._powers[hop]

    def integrated(self, hops: int | None = None) -> float | None:
        """Return the loudness in LUFS of the first hops, of all without a number; None where nothing can be heard."""
        powers = np.array(self._powers[:hops])
        if not len(powers):
            return None
        length = min(HOPS_OF_BLOCK, len(powers))
        blocks = np.convolve(powers, np.full(length, 1 / length), mode="valid")
        audible = blocks[blocks > _power(ABSOLUTE_GATE)]
        if not len(audible):
            return None
        kept = audible[audible >= audible.mean() * 10 ** (RELATIVE_GATE / 10)]
        return OFFSET + 10 * math.log10(float(kept.mean()))

    def _add_weighted(self, weighted: np.ndarray) -> None:
        joined = np.concatenate([self._weighted, weighted])
        whole = len(joined) // self.hop * self.hop
        self._powers += np.square(joined[:whole].reshape(-1, self.hop)).mean(axis=1).tolist()
        self._weighted = joined[whole:]


def is_audible(power: float) -> bool:
    """Return whether a mean square is above the absolute gate."""
    return power > _power(ABSOLUTE_GATE)


def _power(loudness: float) -> float:
    power: float = 10 ** ((loudness - OFFSET) / 10)
    return power


@lru_cache(maxsize=8)
def _weighting(sample_rate: int) -> tuple[np.ndarray, int]:
    """Return the spectrum of the K-weighting filter, and the size of the Fourier transform that it is for.

    The filter is BS.1770's two stages, a high shelf and a high pass, at any rate.
    """
    taps = round(sample_rate * FILTER_SECONDS)
    size = 1 << math.ceil(math.log2(4 * taps))
    delay = np.exp(-2j * np.pi * np.arange(8 * size // 2 + 1) / (8 * size))  # a grid so fine that nothing wraps round
    shelf_k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    shelf_q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    scale = 1 + shelf_k / shelf_q + shelf_k**2
    shelf = _biquad(
        delay,
        (
            high + band * shelf_k / shelf_q + shelf_k**2,
            2 * (shelf_k**2 - high),
            high - band * shelf_k / shelf_q + shelf_k**2,
        ),
        (scale, 2 * (shelf_k**2 - 1), 1 - shelf_k / shelf_q + shelf_k**2),
    )
    pass_k = math.tan(math.pi * 38.13547087602444 / sample_rate)
    width = pass_k / 0.5003270373238773
    scale = 1 + width + pass_k**2
    # The standard's high pass has the numerator 1, −2, 1 at every rate.
    high_pass = _biquad(delay, (scale, -2 * scale, scale), (scale, 2 * (pass_k**2 - 1), 1 - width + pass_k**2))
    response = np.fft.irfft(shelf * high_pass)[:taps]
    return np.fft.rfft(response, size), size


def _biquad(
    delay: np.ndarray, numerator: tuple[float, float, float], denominator: tuple[float, float, float]
) -> np.ndarray:
    spectrum: np.ndarray = np.polyval(numerator[::-1], delay) / np.polyval(denominator[::-1], delay)
    return spectrum
