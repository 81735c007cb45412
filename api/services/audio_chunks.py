"""A piece of speech on its way from the queue to a listener."""

from __future__ import annotations

from dataclasses import dataclass

from core.marks.speech_label import SpeechLabel
from core.speech.requests import MarkTiming
from core.speech.verification import SpeechVerification, VerifiedUtterance
from core.speech.words import WordTiming


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Consecutive samples of the speech: 16 bit, mono."""

    samples: bytes
    """The first ones of an utterance begin with the pause before it; those that end one are empty."""
    sample_rate: int
    utterance: int = 0
    """Counted from 0."""
    text: str = ""
    """Of the utterance."""
    last: bool = False
    """Whether the utterance ends here."""
    words: tuple[WordTiming, ...] = ()
    """Words that end in the samples, timed from the start of the speech."""
    marks: tuple[MarkTiming, ...] = ()
    """Those of the utterance's text, timed as words, where it ends here."""
    label: SpeechLabel | None = None
    """What the metadata of the speech say; None where they are off, and of silence without speech."""
    verification: SpeechVerification | None = None
    """How the utterance was verified, where it ends here."""
    voice_id: str = ""
    """Of the utterance."""
    loudness: float | None = None
    """LUFS that it is brought to."""

    @property
    def verified(self) -> VerifiedUtterance | None:
        """How the utterance that ends here was verified; None elsewhere, and where nobody wanted to know."""
        if self.verification is None or self.verification["verdict"] == "unverified":
            return None
        return VerifiedUtterance(**self.verification, index=self.utterance, text=self.text)
