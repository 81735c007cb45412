"""Faults of an alignment of tokens and phonemes.

The limits were chosen on 500 clean utterances of WordNet's examples and the same with three to six phonemes removed,
repeated or cut off; `scripts/bench right` measures on other texts. A phoneme or a token counts up to a limit of its
own, so that one that is slurred or misheard is no skipped word. Shapes: T tokens, S phonemes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from GPT_SoVITS.synthesis.verification.alignment import MonotonicAlignment
from GPT_SoVITS.synthesis.verification.faults import FaultKind

SKIPPED_NATS, UNEXPECTED_NATS = 11.5, 18.0
"""What the phonemes, or the tokens, of a stretch may miss together, above the allowance of each."""
ALLOWANCE, MOST_NATS = 1.0, 9.0
"""Of a phoneme or a token: what it may miss, and what counts at most above that."""
TOKENS_OF_ONE_SOUND = 3
"""So many tokens count of a row in one phoneme that are heard as the same: a wrong vowel is no other word."""
ORDINARY_SHARE, ORDINARY_NATS, LARGEST_SCALE = 0.8, 0.6, 1.5
"""So many of the tokens that fit best show how well a voice fits; from so much on, all limits grow in proportion, up to
so many times: what fits even worse is no voice's way to speak."""
LONGEST_SOUND, LONGEST_PAUSE = 14, 18
"""Tokens of one phoneme: pointers end one after twelve."""


class TokenFault(NamedTuple):
    """A fault between two tokens."""

    kind: FaultKind
    start: int
    end: int
    phonemes: tuple[int, int] | None = None
    """The first and the last phoneme of the text that it concerns, where that is known."""


def coverage_faults(
    alignment: MonotonicAlignment, is_pause: np.ndarray, *, whole: bool, durations: bool = True
) -> list[TokenFault]:
    """Return the faults of an alignment with phonemes of which some are pauses (S,).

    Args:
        alignment: Of the tokens so far.
        is_pause: Which phonemes are pauses.
        whole: Whether it is complete; otherwise phonemes from the last one on are still to come.
        durations: Whether a phoneme that lasts long is a fault, as where pointers end it.
    """
    path = alignment.path(whole=whole)
    mismatch = alignment.mismatch(path)
    scale = _ordinary_scale(mismatch)
    reached = len(is_pause) if whole else int(path[-1]) + 1
    starts = np.searchsorted(path, np.arange(reached), side="left")
    ends = np.searchsorted(path, np.arange(reached), side="right")
    spoken = [index for index in range(reached if whole else reached - 1) if not is_pause[index]]
    never = 2 * SKIPPED_NATS
    least = np.array([mismatch[starts[i] : ends[i]].min() if ends[i] > starts[i] else never for i in spoken])
    faults = [
        TokenFault(
            FaultKind.SKIPPED,
            int(starts[spoken[first]]),
            int(ends[spoken[last - 1]]),
            (spoken[first], spoken[last - 1]),
        )
        for first, last in _excesses(np.minimum(least / scale - ALLOWANCE, MOST_NATS), SKIPPED_NATS)
    ]
    unexpected = np.minimum(mismatch / scale - ALLOWANCE, MOST_NATS)
    unexpected = np.where(_held(path, alignment.labels), np.minimum(unexpected, 0.0), unexpected)
    faults += [
        TokenFault(FaultKind.UNEXPECTED, first, last, (int(path[first]), int(path[last - 1])))
        for first, last in _excesses(unexpected, UNEXPECTED_NATS)
    ]
    for index in range(reached if durations else 0):
        limit = LONGEST_PAUSE if is_pause[index] else LONGEST_SOUND
        if ends[index] - starts[index] > limit:
            kind = FaultKind.SILENCE if is_pause[index] else FaultKind.STUCK
            faults.append(TokenFault(kind, int(starts[index]), int(ends[index]), (index, index)))
    return faults


def _held(path: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return which tokens (T,) only go on with a sound, in one phoneme, that has lasted for `TOKENS_OF_ONE_SOUND`."""
    same = np.concatenate([[False], (path[1:] == path[:-1]) & (labels[1:] == labels[:-1])])
    held = same.copy()
    for distance in range(1, TOKENS_OF_ONE_SOUND):
        held &= np.concatenate([np.zeros(distance, bool), same[:-distance]])[: len(same)]
    return held


def _ordinary_scale(mismatch: np.ndarray) -> float:
    """Return by what the limits grow for a voice whose speech fits its text worse than usual throughout."""
    count = max(1, int(ORDINARY_SHARE * len(mismatch)))
    ordinary = float(np.partition(mismatch, count - 1)[:count].mean())
    return min(max(1.0, ordinary / ORDINARY_NATS), LARGEST_SCALE)


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
