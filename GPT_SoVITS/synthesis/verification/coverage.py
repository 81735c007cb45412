"""Faults of an alignment of tokens and phonemes.

The limits are between clean speech of nano's base and speech with three to six phonemes removed from its tokens, all of
which exceeds the first one (`scripts/bench right`). Shapes: T tokens, S phonemes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from GPT_SoVITS.synthesis.verification.faults import FaultKind

SKIPPED_NATS, SKIPPED_ALLOWANCE = 13.0, 2.0
"""What the phonemes of a stretch may miss together, above the allowance of each."""
UNEXPECTED_NATS, UNEXPECTED_ALLOWANCE = 24.0, 2.0
"""The same of the tokens of a stretch."""
ORDINARY_SHARE, ORDINARY_NATS = 0.8, 0.6
"""So many of the tokens that fit best show how well a voice fits; from so much on, all limits grow in proportion."""
LONGEST_SOUND, LONGEST_PAUSE = 14, 18
"""Tokens of one phoneme: pointers end one after twelve."""


class TokenFault(NamedTuple):
    """A fault between two tokens."""

    kind: FaultKind
    start: int
    end: int


def coverage_faults(path: np.ndarray, mismatch: np.ndarray, is_pause: np.ndarray, *, whole: bool) -> list[TokenFault]:
    """Return the faults of a path (T,) with its mismatch (T,) through phonemes of which some are pauses (S,).

    `whole`: whether the path is complete; otherwise phonemes from the last one on are still to come.
    """
    scale = _ordinary_scale(mismatch)
    reached = len(is_pause) if whole else int(path[-1]) + 1
    starts = np.searchsorted(path, np.arange(reached), side="left")
    ends = np.searchsorted(path, np.arange(reached), side="right")
    spoken = [index for index in range(reached if whole else reached - 1) if not is_pause[index]]
    never = 2 * SKIPPED_NATS
    least = np.array([mismatch[starts[i] : ends[i]].min() if ends[i] > starts[i] else never for i in spoken])
    faults = [
        TokenFault(FaultKind.SKIPPED, int(starts[spoken[first]]), int(ends[spoken[last - 1]]))
        for first, last in _excesses(least / scale - SKIPPED_ALLOWANCE, SKIPPED_NATS)
    ]
    faults += [
        TokenFault(FaultKind.UNEXPECTED, first, last)
        for first, last in _excesses(mismatch / scale - UNEXPECTED_ALLOWANCE, UNEXPECTED_NATS)
    ]
    for index in range(reached):
        limit = LONGEST_PAUSE if is_pause[index] else LONGEST_SOUND
        if ends[index] - starts[index] > limit:
            kind = FaultKind.SILENCE if is_pause[index] else FaultKind.STUCK
            faults.append(TokenFault(kind, int(starts[index]), int(ends[index])))
    return faults


def _ordinary_scale(mismatch: np.ndarray) -> float:
    """Return by what the limits grow for a voice whose speech fits its text worse than usual throughout."""
    count = max(1, int(ORDINARY_SHARE * len(mismatch)))
    return max(1.0, float(np.partition(mismatch, count - 1)[:count].mean()) / ORDINARY_NATS)


def _excesses(values: np.ndarray, limit: float) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the stretches whose sum exceeds the limit, each up to its largest sum."""
    total, start, best, best_end = 0.0, 0, 0.0, 0
    for index, value in enumerate(values):
        if total <= 0.0:
            if best > limit:
                yield start, best_end
            total, start, best = 0.0, index, 0.0
        total += float(value)
        if total > best:
            best, best_end = total, index + 1
    if best > limit:
        yield start, best_end
