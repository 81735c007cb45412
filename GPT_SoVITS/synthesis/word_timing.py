"""When each word of a sentence is heard: from the phoneme that every frame of its audio speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from GPT_SoVITS.synthesis.acoustic_decoder import FRAMES_PER_SECOND
from GPT_SoVITS.text import PhonemizedText, Span, written_words


class SpokenPhoneme(NamedTuple):
    """A phoneme, and when it is heard; in seconds from the start of the utterance."""

    phoneme: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word as it is written, and when it is heard."""

    text_start: int
    text_end: int
    """Characters of the utterance's text: the words follow one another without a gap."""
    start: float
    end: float
    """Seconds from the start of the utterance."""
    phonemes: tuple[SpokenPhoneme, ...] = ()


class WordTimer:
    """Takes the phonemes of an utterance's frames as they come, and gives each word once its end is known."""

    def __init__(self, text: str, phonemized: PhonemizedText, atoms: Sequence[Span] = ()) -> None:
        """`atoms`: stretches of the text in which no word begins."""
        self._words = written_words(text, phonemized, atoms)
        self._phonemes = phonemized.phonemes
        self._begins = [0]
        """The first frame of each phoneme that was reached, in order."""
        self._frames = 0
        self._returned = 0

    def add(self, spoken: Sequence[int], *, last: bool = False) -> list[SpokenWord]:
        """Add frames, and return the words that end in them; with the `last` ones all that are left."""
        for frame, phoneme in enumerate(spoken, self._frames):
            # A joint of two chunks may lead back by a phoneme; it was begun all the same.
            if phoneme >= len(self._begins):
                self._begins += [frame] * (phoneme + 1 - len(self._begins))
        self._frames += len(spoken)
        words: list[SpokenWord] = []
        for word in self._words[self._returned :]:
            first, end = word.phonemes
            if end >= len(self._begins) and not last:
                break
            phonemes = tuple(
                SpokenPhoneme(self._phonemes[index], self._begin(index), self._begin(index + 1))
                for index in range(first, end)
            )
            words.append(SpokenWord(word.start, word.end, self._begin(first), self._begin(end), phonemes))
        self._returned += len(words)
        return words

    def _begin(self, phoneme: int) -> float:
        """Return when a phoneme begins; the end of the audio where that is never."""
        frame = self._begins[phoneme] if phoneme < len(self._begins) else self._frames
        return frame / FRAMES_PER_SECOND
