"""Fingerprints of recordings that volume, sample rate and lossy formats leave nearly as they were.

As Haitsma and Kalker (2002) describe it: 33 bands of a short spectrum, and a bit wherever the difference of two
neighboring bands grows from one frame to the next.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

SAMPLE_RATE = 16_000
"""Hz."""
WINDOW, HOP = 4096, 256
"""256 ms every 16 ms: so slow a spectrum hardly changes with where its frames begin."""
BANDS = 33
MIN_FREQUENCY, MAX_FREQUENCY = 150.0, 3400.0
"""Hz: what a telephone leaves."""
MAX_DIFFERENCE = 0.25
"""Share of bits in which two fingerprints of one recording may differ; unrelated ones differ in half of them."""
MIN_OVERLAP = 0.8
"""Of the shorter one."""
MIN_HITS = 3
"""Equal frames at one offset before two fingerprints are compared in full."""
MAX_RECORDINGS_PER_FRAME = 64
"""Recordings that one frame is looked up in, and candidates that one recording is compared with."""
MIN_FRAMES = 16


def fingerprint(samples: np.ndarray) -> np.ndarray:
    """Return (frames,) uint32 for (N,) float32 at 16 kHz."""
    if len(samples) < WINDOW + HOP:
        return np.zeros(0, np.uint32)
    starts = range(0, len(samples) - WINDOW + 1, HOP)
    window = np.hanning(WINDOW).astype(np.float32)
    edges = np.geomspace(MIN_FREQUENCY, MAX_FREQUENCY, BANDS + 1) / SAMPLE_RATE * WINDOW
    bins = np.round(edges).astype(int)
    energy = np.empty((len(starts), BANDS))
    for row, start in enumerate(starts):
        power = np.square(np.abs(np.fft.rfft(samples[start : start + WINDOW] * window)))
        energy[row] = np.add.reduceat(power[: bins[-1]], bins[:-1])
    steps = np.diff(energy, axis=1)  # (frames, 32)
    bits = np.diff(steps, axis=0) > 0
    return np.packbits(bits, axis=1).view(">u4").reshape(-1).astype(np.uint32)


def near_duplicates(fingerprints: Mapping[int, np.ndarray]) -> dict[int, int]:
    """Return recording → the earlier one that it sounds like, in the order of the mapping."""
    duplicates: dict[int, int] = {}
    occurrences: dict[int, list[tuple[int, int]]] = defaultdict(list)
    """Frame → the recordings, and their frame numbers, that have it."""
    for recording, frames in fingerprints.items():
        if len(frames) < MIN_FRAMES:
            continue
        earlier = _find_similar(frames, occurrences, fingerprints)
        if earlier is not None:
            duplicates[recording] = earlier
            continue  # the earlier one is enough to find a third by
        for index, frame in enumerate(frames.tolist()):
            if len(occurrences[frame]) < MAX_RECORDINGS_PER_FRAME:
                occurrences[frame].append((recording, index))
    return duplicates


def _find_similar(
    frames: np.ndarray,
    occurrences: Mapping[int, list[tuple[int, int]]],
    fingerprints: Mapping[int, np.ndarray],
) -> int | None:
    hits: dict[tuple[int, int], int] = defaultdict(int)
    for index, frame in enumerate(frames.tolist()):
        for recording, other_index in occurrences.get(frame, ()):
            hits[recording, other_index - index] += 1
    candidates = sorted(
        (candidate for candidate, count in hits.items() if count >= MIN_HITS),
        key=lambda candidate: (-hits[candidate], candidate),
    )
    for recording, offset in candidates[:MAX_RECORDINGS_PER_FRAME]:
        if _difference(frames, fingerprints[recording], offset) <= MAX_DIFFERENCE:
            return recording
    return None


def _difference(left: np.ndarray, right: np.ndarray, offset: int) -> float:
    """Return the share of different bits between frame `n` of `left` and `n + offset` of `right`; 1 for no overlap."""
    first, last = max(0, -offset), min(len(left), len(right) - offset)
    if last - first < max(MIN_FRAMES, MIN_OVERLAP * min(len(left), len(right))):
        return 1.0
    differing = np.bitwise_xor(left[first:last], right[first + offset : last + offset])
    return float(np.unpackbits(differing.astype(">u4").view(np.uint8)).mean())
