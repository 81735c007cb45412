"""How the engine verifies what it speaks, and what it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from GPT_SoVITS.synthesis.verification.faults import Fault

Recognizer = Callable[[np.ndarray, int], list[Fault]]
"""Returns the faults that it hears in samples (N,) at a rate in Hz; called on a thread of its own."""


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

    @property
    def verdict(self) -> str:
        """`ok`, or `doubtful` where what was delivered has faults."""
        return "doubtful" if self.faults else "ok"
