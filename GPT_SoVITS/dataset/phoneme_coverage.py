"""Which phonemes of a language some texts lack, and sentences to record that have them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "recording_sentences"
MAX_SENTENCES: Final = 10
_LETTER: Final = re.compile(r"[A-Za-z]")

Phonemize = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class SentencePhonemes:
    """A sentence, and the missing phonemes that it adds to those before it."""

    text: str
    phonemes: list[str]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What texts lack."""

    phonemes: int
    missing: list[str]
    sentences: list[SentencePhonemes]


def recording_sentences(language: str) -> list[str]:
    """Return the sentences of a language that were chosen for recordings: together they have its phonemes."""
    path = FOLDER / f"{language}.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def find_coverage(texts: Sequence[str], sentences: Sequence[str], phonemize: Phonemize) -> Coverage:
    """Compare the phonemes of texts with those of sentences; choose sentences until nothing is missing any more.

    The sentence with the most missing phonemes is first, then that with the most of those still missing, and so on.
    """
    spoken = {phoneme for text in texts for phoneme in _phonemes(text, phonemize)}
    by_sentence = {sentence: _phonemes(sentence, phonemize) for sentence in sentences}
    language = spoken.union(*by_sentence.values())
    missing = language - spoken
    chosen: list[SentencePhonemes] = []
    remaining = set(missing)
    while remaining and len(chosen) < MAX_SENTENCES:
        best = max(by_sentence, key=lambda sentence: len(by_sentence[sentence] & remaining))
        added = by_sentence[best] & remaining
        chosen.append(SentencePhonemes(best, sorted(added)))
        remaining -= added
    return Coverage(len(language), sorted(missing), chosen)


def _phonemes(text: str, phonemize: Phonemize) -> set[str]:
    """Return the phonemes of a text without punctuation and pauses."""
    return {
        phoneme for phoneme in phonemize(text) if _LETTER.search(phoneme) and phoneme not in ("SP", "SP2", "SP3", "UNK")
    }
