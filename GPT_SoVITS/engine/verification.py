"""How the engine verifies what it speaks, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from GPT_SoVITS.synthesis.verification.faults import Fault


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was heard in a whole utterance."""

    faults: Sequence[Fault] = ()
    speaker_similarity: float | None = None
    """Of its voice to that of the prompt; None where that was not compared."""
    unchecked: tuple[str, ...] = ()
    """What was to be compared and could not: `speaker`."""


Recognizer = Callable[[np.ndarray, int], Recognition]
"""Listens to samples (N,) at a rate in Hz; called on a thread of its own."""


@dataclass(frozen=True, slots=True)
class VerificationSettings:
    """How an utterance is verified."""

    retries: int = 3
    """Attempts after the first one."""
    recognizer: Recognizer | None = None
    """Listens to whole utterances; not for streams."""


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What became of an utterance that was verified."""

    attempts: int
    faults: tuple[Fault, ...]
    """Those of what was delivered."""
    corrected: tuple[Fault, ...]
    """Those of the attempts that were dropped."""
    seconds: float
    """That verification took of the engine's time, without the attempts."""
    unchecked: tuple[str, ...] = ()
    """What could not be verified: `coverage`, `speaker`."""
    speaker_similarity: float | None = None
    """Of the voice to that of the prompt; None where that was not compared."""

    @property
    def verdict(self) -> str:
        """`ok`, or `doubtful` where what was delivered has faults."""
        return "doubtful" if self.faults else "ok"
