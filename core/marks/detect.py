"""Find the watermark of a key in a recording.

The recording may have been cut, compressed, resampled or made quieter. What is compared is how loud a band is beside
its two neighbours, so that neither the volume nor the colour of the sound counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from core.marks.pattern import (
    BAND_HERTZ,
    BANDS,
    BLOCK_SECONDS,
    CODE_BITS,
    LOWEST_HERTZ,
    PERIOD,
    Pattern,
    payload_of,
)

if TYPE_CHECKING:
    import numpy as np

RATE: Final = 8_000
"""Detection listens at this rate: the band ends at 3.4 kHz."""
TRANSFORM: Final = 2048
"""Points of a transform, so that a band is four bins wide."""
WINDOW_SECONDS: Final = 0.144
HOP_SECONDS: Final = 0.01
MAX_DEVIATION_DB: Final = 6.0
"""Larger differences between neighbours are the speech's own."""
FLOOR_DB: Final = 60.0
"""Cells that are so far below the loudest count nothing; 20 dB above that they count in full."""
NOISE_PERCENTILE: Final = 10
NOISE_FACTOR: Final = 5.0
"""Cells below so many times the noise count nothing."""
THRESHOLD: Final = 5.9
"""Standard deviations. Of 192 beginnings that are tried, the best of a recording without a mark stays below 5.4."""
FALSE_ALARM_RATE: Final = 0.0003
"""Part of recordings without a mark whose score reaches THRESHOLD, at most: 6 of 40,000 did in `scripts/bench marks`,
and with 95 % certainty there are no more than this."""
FALSE_ALARM_SCALE: Final = 0.25
"""Standard deviations over which that part falls to 1/e; 0.22 is what the highest scores of the same run suggest."""
PATTERN_BEGINNINGS: Final = PERIOD * round(BLOCK_SECONDS / HOP_SECONDS)
"""Beginnings of the pattern that are tried."""
SEGMENT_SECONDS: Final = 60.0
UNCERTAIN_BITS: Final = 4
"""The least certain bits, one of which may be wrong: more would let too many wrong payloads pass the check."""


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found in a recording."""

    score: float
    """Standard deviations above what a recording without the mark has."""
    payload: int | None
    """None where there is no mark, or where its bits are not certain."""
    start_seconds: float
    """Where the pattern begins first, from the recording's beginning."""

    @property
    def found(self) -> bool:
        """Return whether the recording carries the mark."""
        return self.score >= THRESHOLD

    @property
    def confidence(self) -> float:
        """One minus the part of recordings without the mark that would reach this score; 0 where nothing was found.

        Speech is not as random as the normal distribution says, so the part was counted, and falls exponentially.
        """
        if not self.found:
            return 0.0
        return 1 - FALSE_ALARM_RATE * math.exp((THRESHOLD - self.score) / FALSE_ALARM_SCALE)


def detect_watermark(samples: np.ndarray, sample_rate: int, pattern: Pattern) -> Detection:
    """Look for a key's mark in a mono recording (N,), int16 or within ±1; the best minute of a long one counts."""
    size = round(SEGMENT_SECONDS * sample_rate)
    best = Detection(-math.inf, None, 0.0)
    for start in range(0, max(1, len(samples) - size // 4), size):
        end = start + size if start + size < len(samples) - size // 4 else len(samples)
        detection = find_pattern(band_differences(samples[start:end], sample_rate), pattern)
        if detection.score > best.score:
            best = replace(detection, start_seconds=detection.start_seconds + start / sample_rate)
    return best


def band_differences(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return how much louder each band is than its neighbours, weighted by certainty, (hops, BANDS) in dB."""
    import numpy as np
    import soxr

    audio: np.ndarray = np.asarray(samples, dtype=np.float32)
    if audio.size and np.issubdtype(np.asarray(samples).dtype, np.integer):
        audio = audio / 32768
    if sample_rate != RATE:
        audio = soxr.resample(audio, sample_rate, RATE).astype(np.float32)
    window, hop = round(RATE * WINDOW_SECONDS), round(RATE * HOP_SECONDS)
    lead = (window - round(RATE * BLOCK_SECONDS)) // 2
    audio = np.concatenate([np.zeros(lead, np.float32), audio, np.zeros(window, np.float32)])
    frames = np.lib.stride_tricks.sliding_window_view(audio, window)[::hop]
    bins = TRANSFORM * BAND_HERTZ / RATE
    first, width = round(LOWEST_HERTZ * TRANSFORM / RATE), round(bins)
    taper = np.hanning(window).astype(np.float32)
    energy: np.ndarray = np.concatenate(
        [
            (np.abs(np.fft.rfft(part * taper, TRANSFORM)[:, first : first + BANDS * width]) ** 2)
            .reshape(-1, BANDS, width)
            .sum(axis=2)
            for part in np.array_split(frames, max(1, len(frames) // 512))
        ]
    )
    level = 10 * np.log10(energy + np.float32(1e-10))
    loudest = np.percentile(level, 99)
    certainty = ((level - loudest + FLOOR_DB) / 20).clip(0, 1)
    # Noise, which has no mark, is what is left in each band when it is quietest.
    noise = np.percentile(energy, NOISE_PERCENTILE, axis=0)
    noise = np.convolve(np.pad(noise, 8, mode="edge"), np.ones(17) / 17, mode="valid")
    certainty = certainty * (1 - NOISE_FACTOR * noise / (energy + 1e-10)).clip(0, 1)
    differences: np.ndarray = (_sharpen(level).clip(-MAX_DEVIATION_DB, MAX_DEVIATION_DB) * certainty).astype(np.float32)
    return differences


def find_pattern(differences: np.ndarray, pattern: Pattern) -> Detection:
    """Look for a key's mark in what `band_differences` returned."""
    import numpy as np

    always, carriers = _expected(pattern)
    per_block = round(BLOCK_SECONDS / HOP_SECONDS)
    products, powers = differences @ always.T, differences**2 @ (always**2).T  # (hops, PERIOD)
    hop = np.arange(len(differences))
    best, best_start = -math.inf, 0
    for start in range(PATTERN_BEGINNINGS):
        rows = hop[start % per_block :: per_block]
        blocks = (rows - start) // per_block % PERIOD
        power = powers[rows, blocks].sum()
        score = products[rows, blocks].sum() / math.sqrt(power) if power > 0 else -math.inf
        if score > best:
            best, best_start = float(score), start
    if best < THRESHOLD:
        return Detection(best, None, best_start * HOP_SECONDS)
    rows = hop[best_start % per_block :: per_block]
    blocks = (rows - best_start) // per_block % PERIOD
    sums = np.zeros((PERIOD, BANDS), dtype=np.float32)
    np.add.at(sums, blocks, differences[rows])
    bits = np.array([(sums * carriers[bit]).sum() for bit in range(CODE_BITS)])
    return Detection(best, _read_payload(bits), best_start * HOP_SECONDS)


@lru_cache(maxsize=8)
def _expected(pattern: Pattern) -> tuple[np.ndarray, np.ndarray]:
    """Return what `band_differences` makes of the constant cells (PERIOD, BANDS), and of each bit's (bits, …)."""
    import numpy as np

    always = np.where(pattern.bits < 0, pattern.signs, 0).astype(np.float32)
    carriers = np.stack([np.where(pattern.bits == bit, pattern.signs, 0) for bit in range(CODE_BITS)])
    return _sharpen(always), _sharpen(carriers.astype(np.float32))


def _sharpen(level: np.ndarray) -> np.ndarray:
    """Subtract from each band the mean of itself and its two neighbours, along the last axis."""
    import numpy as np

    padded = np.pad(level, [(0, 0)] * (level.ndim - 1) + [(1, 1)], mode="edge")
    sharpened: np.ndarray = level - (padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]) / 3
    return sharpened


def _read_payload(bits: np.ndarray) -> int | None:
    """Return the payload of soft bits (CODE_BITS,), correcting one of the least certain ones."""
    import numpy as np

    code = sum(1 << bit for bit in range(CODE_BITS) if bits[bit] > 0)
    uncertain = np.argsort(np.abs(bits))[:UNCERTAIN_BITS]
    candidates = (payload_of(code ^ flip) for flip in (0, *(1 << int(bit) for bit in uncertain)))
    return next((payload for payload in candidates if payload is not None), None)
