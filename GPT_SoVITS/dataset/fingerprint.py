"""Recordings that sound alike: a fingerprint that volume, rate and lossy formats leave nearly as it was.

As Haitsma and Kalker describe it: 33 bands of a short spectrum, and a bit wherever the difference of two
neighbouring bands grows from one frame to the next.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

SAMPLE_RATE = 16_000
WINDOW, HOP = 4096, 256
"""256 ms every 16 ms: so slow a spectrum hardly changes with where its frames begin."""
BANDS = 33
LOWEST, HIGHEST = 150.0, 3400.0
"""Hz: what a telephone leaves."""
MOST_DIFFERENT = 0.25
"""Share of bits in which two prints of one recording may differ; strangers differ in half of them."""
LEAST_OVERLAP = 0.8
"""Of the shorter one."""
FEWEST_HITS = 3
"""Equal frames at one offset before two prints are compared in full."""
PER_FRAME = 64
"""Recordings that one frame is looked up in."""
SHORTEST_FRAMES = 16


def fingerprint(samples: np.ndarray) -> np.ndarray:
    """(N,) float32 at 16 kHz -> (frames,) uint32."""
    if len(samples) < WINDOW + HOP:
        return np.zeros(0, np.uint32)
    starts = range(0, len(samples) - WINDOW + 1, HOP)
    window = np.hanning(WINDOW).astype(np.float32)
    edges = np.geomspace(LOWEST, HIGHEST, BANDS + 1) / SAMPLE_RATE * WINDOW
    bins = np.round(edges).astype(int)
    energy = np.empty((len(starts), BANDS))
    for row, start in enumerate(starts):
        power = np.square(np.abs(np.fft.rfft(samples[start : start + WINDOW] * window)))
        energy[row] = np.add.reduceat(power[: bins[-1]], bins[:-1])
    steps = np.diff(energy, axis=1)  # (frames, 32)
    bits = np.diff(steps, axis=0) > 0
    return np.packbits(bits, axis=1).view(">u4").reshape(-1).astype(np.uint32)


def near_duplicates(prints: dict[int, np.ndarray]) -> dict[int, int]:
    """Recording -> the earlier one it sounds like, in the order of the mapping."""
    found: dict[int, int] = {}
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for key, own in prints.items():
        if len(own) < SHORTEST_FRAMES:
            continue
        other = _like(own, places, prints)
        if other is not None:
            found[key] = other
            continue  # the earlier one is enough to find a third by
        for frame, code in enumerate(own.tolist()):
            if len(places[code]) < PER_FRAME:
                places[code].append((key, frame))
    return found


def difference(one: np.ndarray, other: np.ndarray, offset: int) -> float:
    """Share of different bits where frame `n` of one is frame `n + offset` of the other; 1 when too little overlaps."""
    first, last = max(0, -offset), min(len(one), len(other) - offset)
    if last - first < max(SHORTEST_FRAMES, LEAST_OVERLAP * min(len(one), len(other))):
        return 1.0
    differ = np.bitwise_xor(one[first:last], other[first + offset : last + offset])
    return float(np.unpackbits(differ.astype(">u4").view(np.uint8)).mean())


def _like(own: np.ndarray, places: dict[int, list[tuple[int, int]]], prints: dict[int, np.ndarray]) -> int | None:
    hits: dict[tuple[int, int], int] = defaultdict(int)
    for frame, code in enumerate(own.tolist()):
        for other, place in places.get(code, ()):
            hits[other, place - frame] += 1
    likely = sorted((one for one, count in hits.items() if count >= FEWEST_HITS), key=lambda one: (-hits[one], one))
    for other, offset in likely[:PER_FRAME]:
        if difference(own, prints[other], offset) <= MOST_DIFFERENT:
            return other
    return None
