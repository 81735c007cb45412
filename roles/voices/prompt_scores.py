"""How good a passage of a recording is as a prompt.

    score = Σ weight · score in one respect / Σ weight

A prompt that works is one clean sentence in the speaker's usual manner: noise and clipping are imitated, a word that is
cut off or a transcript that is wrong makes the model skip or repeat words, and an unusual pitch colours all speech.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from core.voices.prompt_proposals import PromptScores

WEIGHTS: Final[dict[str, float]] = {
    "duration": 0.1,
    "noise": 0.2,
    "clipping": 0.1,
    "speech": 0.1,
    "transcript": 0.25,
    "typical": 0.1,
    "speaker": 0.15,
}
BEST_SECONDS: Final = (4.0, 8.0)
NOISE_DB: Final = (15.0, 40.0)
"""Signal-to-noise ratios that score 0 and 1."""
WORST_CLIPPED_SHARE: Final = 0.001
SPEECH_SHARE: Final = (0.4, 0.8)
TYPICAL_OCTAVES: Final = 0.3
"""Distance from the speaker's median pitch that scores 0,"""
TYPICAL_DB: Final = 8.0
"""and the same of the level."""
SIMILARITY: Final = (0.7, 0.92)
"""Of the voice to the mean of all passages; two speakers have about 0.6."""
_SENTENCE_ENDS: Final = tuple(".!?…。！？")
_CLOSING_MARKS: Final = "\"'”’」』)）"
INCOMPLETE: Final = 0.5
"""What a passage that is no complete sentence scores, in parts of a complete one."""


@dataclass(frozen=True, slots=True)
class PassageMeasures:
    """What was measured of a passage's audio."""

    seconds: float
    signal_to_noise_db: float
    clipped_share: float
    speech_share: float
    level_db: float
    """Of its speech."""
    pitch: float
    """Median in Hz; 0 where nothing is voiced."""
    similarity: float | None = None
    """Of its voice to the speaker's mean."""


@dataclass(frozen=True, slots=True)
class TypicalSpeech:
    """What a speaker usually sounds like."""

    pitch: float
    level_db: float

    @classmethod
    def of(cls, passages: Sequence[PassageMeasures]) -> TypicalSpeech:
        """Return the medians of passages."""
        pitches = [passage.pitch for passage in passages if passage.pitch]
        return cls(median(pitches) if pitches else 0.0, median(passage.level_db for passage in passages))


def audio_scores(passage: PassageMeasures, typical: TypicalSpeech) -> PromptScores:
    """Return the scores of a passage; that of its transcript is 0."""
    shortest, longest = BEST_SECONDS
    off = max(shortest - passage.seconds, passage.seconds - longest, 0.0)
    octaves = abs(math.log2(passage.pitch / typical.pitch)) if passage.pitch and typical.pitch else TYPICAL_OCTAVES
    level = abs(passage.level_db - typical.level_db)
    return {
        "duration": _within(1 - off / 4),
        "noise": _between(passage.signal_to_noise_db, NOISE_DB),
        "clipping": _within(1 - passage.clipped_share / WORST_CLIPPED_SHARE),
        "speech": _between(passage.speech_share, SPEECH_SHARE),
        "transcript": 0.0,
        "typical": _within((2 - octaves / TYPICAL_OCTAVES - level / TYPICAL_DB) / 2),
        "speaker": None if passage.similarity is None else _between(passage.similarity, SIMILARITY),
    }


def is_complete_sentence(text: str) -> bool:
    """Return whether a text begins as a sentence does and ends with its punctuation."""
    stripped = text.strip().rstrip(_CLOSING_MARKS)
    first = next((letter for letter in stripped if letter.isalnum()), "")
    return bool(first) and not first.islower() and stripped.endswith(_SENTENCE_ENDS)


def transcript_score(text: str, confidence: float) -> float:
    """Return the score of a transcript that a recognizer confirms with a confidence from 0 to 1."""
    return _within(confidence * (1.0 if is_complete_sentence(text) else INCOMPLETE))


def total_score(scores: PromptScores) -> float:
    """Return the weighted mean of all scores that are known, from 0 to 1."""
    available = {name: value for name, value in scores.items() if isinstance(value, float)}
    return sum(WEIGHTS[name] * value for name, value in available.items()) / sum(WEIGHTS[name] for name in available)


def _between(value: float, limits: tuple[float, float]) -> float:
    return _within((value - limits[0]) / (limits[1] - limits[0]))


def _within(value: float) -> float:
    return min(1.0, max(0.0, value))
