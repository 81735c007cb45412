"""Faults that the tokens alone show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from GPT_SoVITS.synthesis.verification.coverage import TokenFault
from GPT_SoVITS.synthesis.verification.faults import FaultKind

LONGEST_PERIOD = 40
"""Tokens of what comes again: a few words."""
LEAST_DIFFERENT = 3
"""Fewer different tokens may be a pause or a long vowel."""
SHORTEST_SHARE, LONGEST_SHARE, SPARE_TOKENS = 0.4, 2.5, 40
"""Bounds of the length, in parts of what the pace of the voice's prompt predicts, and what may be added to the upper
one for pauses."""


def loop_faults(tokens: Sequence[int], shortest: int) -> list[TokenFault]:
    """Return the first stretch of tokens that comes twice or more, one right behind the other, as none does in speech.

    `shortest`: tokens that must agree at least.
    """
    sequence = np.asarray(tokens)
    for period in range(2, min(LONGEST_PERIOD, len(sequence) // 2) + 1):
        least = max(period, shortest)
        agreeing = np.concatenate([[0], np.cumsum(sequence[period:] == sequence[:-period])])
        for start in np.flatnonzero(agreeing[least:] - agreeing[:-least] == least).tolist():
            if len(set(tokens[start : start + least])) >= LEAST_DIFFERENT:
                end = start + least
                while end + period < len(tokens) and tokens[end] == tokens[end + period]:
                    end += 1
                return [TokenFault(FaultKind.LOOP, start, end + period)]
    return []


def length_faults(count: int, predicted: float, limit: int) -> list[TokenFault]:
    """Return what is wrong with a number of tokens, where a pace predicts another and the model stops at a limit."""
    if count >= limit:
        return [TokenFault(FaultKind.NO_END, min(count - 1, round(predicted)), count)]
    if count < SHORTEST_SHARE * predicted:
        return [TokenFault(FaultKind.TOO_SHORT, 0, count)]
    longest = LONGEST_SHARE * predicted + SPARE_TOKENS
    return [TokenFault(FaultKind.TOO_LONG, round(longest), count)] if count > longest else []
