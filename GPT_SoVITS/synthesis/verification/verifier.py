"""Verifies the tokens of one attempt while they are generated, at points that depend on their number alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from GPT_SoVITS.synthesis.verification.alignment import MonotonicAlignment, TokenEvidence
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
LONGEST_HABIT = 8
"""Phonemes, of a word: more that another seed gets wrong, too, are no way to say a word."""

Listen = Callable[[Sequence[int]], TokenEvidence]
"""Returns what is known of tokens: of each one with `CONTEXT` on either side, or of all of them together."""


@dataclass(frozen=True, slots=True)
class TextToVerify:
    """What an utterance should say, and what is known of its voice."""

    is_pause: np.ndarray
    """(S,) true for punctuation."""
    predicted_tokens: float
    """By the pace of the voice's prompt."""
    limit: int
    """Tokens at which the model is stopped; a model with pointers ends by itself before."""
    listen: Listen | None
    """None where nothing tells what tokens speak: their loops and lengths are verified alone."""
    early: bool = True
    """Whether it needs no more than the `CONTEXT` of a token, rather than all of them."""

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What cannot be verified: `coverage`, whether all phonemes are spoken and no others."""
        return () if self.listen is not None else ("coverage",)


class TokenVerifier:
    """Decides how many of the tokens so far may be spoken."""

    def __init__(self, text: TextToVerify, first: int, accepted: Sequence[TokenFault] = ()) -> None:
        """Begin before the first token.

        Args:
            text: What should be said.
            first: Tokens that are needed for the first audio; 0 to verify the whole at once.
            accepted: Faults that are none where they concern the same phonemes.
        """
        self.accepted = list(accepted)
        self._text = text
        self._first = first
        self._alignment = MonotonicAlignment(len(text.is_pause))
        self._early = text.early and text.listen is not None
        self._next = (first if self._early else UNVERIFIED) + LOOK_AHEAD
        """Tokens at the next point of verification."""
        self.released = 0
        """Tokens in which there is no fault, and which the second stage may have."""
        self.faults: list[TokenFault] = []
        """Those at the last point of verification."""

    def add(self, tokens: Sequence[int], *, finished: bool) -> None:
        """Verify all tokens so far; stops at the first point with a fault."""
        if self._first and not self._early:
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

    def accept(self) -> None:
        """Count the present faults, and others that concern their phonemes, as none from now on."""
        self.accepted += self.faults
        self.faults = []

    def _verify(self, tokens: Sequence[int], *, whole: bool) -> None:
        text = self._text
        faults = loop_faults(tokens, shortest=3 if self._early else 8)
        if text.listen is not None and (whole or self._early):
            self._align(tokens, text.listen, whole=whole)
            if len(self._alignment):
                in_pause = text.is_pause[self._alignment.path(whole=whole)]
                faults = [fault for fault in faults if not in_pause[fault.start : fault.end].all()]
                faults += coverage_faults(self._alignment, text.is_pause, whole=whole, durations=self._early)
        if whole:
            faults += length_faults(len(tokens), text.predicted_tokens, text.limit)
        self.faults = [fault for fault in faults if not is_repeated(fault, self.accepted)]

    def _align(self, tokens: Sequence[int], listen: Listen, *, whole: bool) -> None:
        """Extend the alignment by the tokens whose context is known."""
        start, end = len(self._alignment), len(tokens) if whole else len(tokens) - CONTEXT
        if end > start:
            first = max(0, start - CONTEXT)
            evidence = listen(tokens[first:])
            self._alignment.extend(TokenEvidence(*(part[start - first : end - first] for part in evidence)))


def in_seconds(faults: Sequence[TokenFault], speed: float, earlier: Sequence[TokenFault] = ()) -> list[Fault]:
    """Return the faults of tokens at their times in audio of a speed; `earlier`: those that repeat others."""
    rate = TOKENS_PER_SECOND * speed
    return [Fault(fault.kind, fault.start / rate, fault.end / rate, is_repeated(fault, earlier)) for fault in faults]


def is_repeated(fault: TokenFault, earlier: Sequence[TokenFault]) -> bool:
    """Return whether a fault of a few phonemes concerns those that one of an earlier attempt concerned."""
    return any(
        fault.phonemes is not None
        and other.phonemes is not None
        and max(fault.phonemes[1], other.phonemes[1]) - min(fault.phonemes[0], other.phonemes[0]) < LONGEST_HABIT
        and fault.phonemes[0] <= other.phonemes[1]
        and other.phonemes[0] <= fault.phonemes[1]
        for other in earlier
    )
