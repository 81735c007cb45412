"""What can be wrong with an utterance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What is wrong."""

    SKIPPED = "skipped"
    """Phonemes of the text are not spoken."""
    UNEXPECTED = "unexpected"
    """Something is spoken that the text does not have there: words again, other words, babble."""
    STUCK = "stuck"
    """A sound does not end."""
    LOOP = "loop"
    """The same tokens come again and again."""
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    NO_END = "no_end"
    """The model did not end by itself."""
    SILENCE = "silence"
    CLIPPING = "clipping"
    CUT_OFF = "cut_off"
    """The audio ends at full level."""
    OTHER_VOICE = "other_voice"
    """Another speaker's voice than that of the prompt."""
    WRONG_WORDS = "wrong_words"
    """A recognizer hears words skipped or repeated."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong between two times of an utterance's audio."""

    kind: FaultKind
    start: float
    """Seconds."""
    end: float
    repeated: bool = False
    """Whether another attempt, with another seed, had it at the same phonemes: it may be the voice's way to speak."""

    def as_dict(self) -> dict[str, str | float]:
        """Return the fault as results and events carry it."""
        fault = {"kind": self.kind.value, "start": round(self.start, 3), "end": round(self.end, 3)}
        return fault | {"repeated": True} if self.repeated else fault


def severity(faults: Sequence[Fault]) -> tuple[int, float]:
    """Return what orders attempts, the smallest being the best: faults, and the seconds that they last."""
    return len(faults), sum(fault.end - fault.start for fault in faults)
