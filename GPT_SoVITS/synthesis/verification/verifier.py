"""Verifies the tokens of one attempt while they are generated, at points that depend on their number alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from GPT_SoVITS.synthesis.verification.alignment import MonotonicAlignment
from GPT_SoVITS.synthesis.verification.coverage import TokenFault, coverage_faults
from GPT_SoVITS.synthesis.verification.faults import Fault
from GPT_SoVITS.synthesis.verification.patterns import length_faults, loop_faults

TOKENS_PER_SECOND = 25
LOOK_AHEAD = 7
"""Tokens, 280 ms, by which what is verified is ahead of what goes on to the second stage."""
INTERVAL = 16
"""Tokens between two points of verification."""
UNVERIFIED = 48
"""Tokens that are spoken without verification where there is no classifier: so few show no loop, and the first audio
does not wait."""
CONTEXT = 3
"""Tokens on either side that the classifier reads to judge one."""

Classify = Callable[[Sequence[int]], np.ndarray]
"""Returns the log-probabilities (T, symbols) of the phonemes of tokens; pauses count as one phoneme."""


@dataclass(frozen=True, slots=True)
class TextToVerify:
    """What an utterance should say, and what is known of its voice."""

    phonemes: np.ndarray
    """(S,) ids."""
    is_pause: np.ndarray
    """(S,) true for punctuation."""
    predicted_tokens: float
    """By the pace of the voice's prompt."""
    limit: int
    """Tokens at which the model is stopped; a model with pointers ends by itself before."""
    classify: Classify | None
    """None for versions without a classifier: their loops and lengths are verified."""


class TokenVerifier:
    """Decides how many of the tokens so far may be spoken."""

    def __init__(self, text: TextToVerify, first: int) -> None:
        """`first`: tokens that are needed for the first audio; 0 to verify the whole at once."""
        self._text = text
        self._first = first
        self._alignment = MonotonicAlignment(text.phonemes)
        self._next = (first if text.classify is not None else UNVERIFIED) + LOOK_AHEAD
        """Tokens at the next point of verification."""
        self.released = 0
        """Tokens in which there is no fault, and which the second stage may have."""
        self.faults: list[TokenFault] = []
        """Those at the last point of verification."""

    def add(self, tokens: Sequence[int], *, finished: bool) -> None:
        """Verify all tokens so far; stops at the first point with a fault."""
        if self._first and self._text.classify is None:
            self.released = max(self.released, min(len(tokens), UNVERIFIED))
        while self._first and self._next <= len(tokens) and not self.faults:
            self._verify(tokens[: self._next], whole=False)
            if not self.faults:
                self.released = self._next - LOOK_AHEAD
            self._next += INTERVAL
        if finished and not self.faults:
            self._verify(tokens, whole=True)
            if not self.faults:
                self.released = len(tokens)

    def _verify(self, tokens: Sequence[int], *, whole: bool) -> None:
        text = self._text
        faults = loop_faults(tokens, shortest=3 if text.classify is not None else 8)
        if text.classify is not None:
            self._align(tokens, text.classify, whole=whole)
            if len(self._alignment):
                path = self._alignment.path(whole=whole)
                mismatch = self._alignment.mismatch(path)
                faults += coverage_faults(path, mismatch, text.is_pause, whole=whole)
        if whole:
            faults += length_faults(len(tokens), text.predicted_tokens, text.limit)
        self.faults = faults

    def _align(self, tokens: Sequence[int], classify: Classify, *, whole: bool) -> None:
        """Extend the alignment by the tokens whose context is known."""
        start, end = len(self._alignment), len(tokens) if whole else len(tokens) - CONTEXT
        if end > start:
            first = max(0, start - CONTEXT)
            self._alignment.extend(classify(tokens[first:])[start - first : end - first])


def in_seconds(faults: Sequence[TokenFault], speed: float) -> list[Fault]:
    """Return the faults of tokens at their times in audio of a speed."""
    rate = TOKENS_PER_SECOND * speed
    return [Fault(fault.kind, fault.start / rate, fault.end / rate) for fault in faults]
