"""The difference between a transcript and its text: error rates, and the words that were skipped or repeated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from GPT_SoVITS.text.english.normalize import normalize as normalize_english
from GPT_SoVITS.text.mandarin.normalize import normalize as normalize_mandarin

BY_CHARACTERS = ("zh", "yue", "ja", "ko")
"""Compared by characters: written without spaces, or (Korean) with spaces that recognizers set as they like."""
CHANGE_COST = 1 << 20
"""Of an alignment: no number of equal words outweighs one change."""
REPETITION_DISTANCE = 3
"""An added word counts as repeated when the text has the same one at most so many words away."""

AlignedPairs: TypeAlias = list[tuple[str | None, str | None]]
"""(expected word, transcribed word) in order, with None where one side has nothing."""


@dataclass(frozen=True, slots=True)
class TranscriptComparison:
    """A transcript against the expected text."""

    wer: float
    """Wrong words (characters, for `BY_CHARACTERS`) in proportion to those of the text; may exceed 1."""
    cer: float
    """The same by characters."""
    repeated: tuple[str, ...] = ()
    """Words that the transcript has once more than the text, near to where the text has them."""
    skipped: tuple[str, ...] = ()
    """Words of the text in whose place the transcript has nothing."""


def compare(expected: str, transcript: str, language: str) -> TranscriptComparison:
    """Return error rates, and which words were repeated and skipped."""
    expected_words, transcribed_words = words(expected, language), words(transcript, language)
    pairs = align(expected_words, transcribed_words)
    repeated = []
    for index, (expected_word, transcribed_word) in enumerate(pairs):
        if expected_word is None and transcribed_word is not None:
            nearby = pairs[max(0, index - REPETITION_DISTANCE) : index + REPETITION_DISTANCE + 1]
            repeated += [transcribed_word] if any(word == transcribed_word for word, _ in nearby) else []
    return TranscriptComparison(
        wer=_rate(expected_words, transcribed_words),
        cer=_rate("".join(expected_words), "".join(transcribed_words)),
        repeated=tuple(repeated),
        skipped=tuple(word for word, transcribed in pairs if word is not None and transcribed is None),
    )


def error_rate(expected: str, transcript: str, language: str) -> float:
    """Return substitutions, insertions and deletions in proportion to the words (or characters) of `expected`."""
    return _rate(words(expected, language), words(transcript, language))


def words(text: str, language: str) -> list[str]:
    """Return the lower-case words to compare, numbers written out, no punctuation; for `BY_CHARACTERS` characters."""
    if language in BY_CHARACTERS:
        spoken = normalize_mandarin(text) if language == "zh" else text
        return re.findall(r"[^\W_]", spoken.lower())
    spoken = normalize_english(text) if language == "en" else text
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", spoken.lower().replace("’", "'").replace("-", " "))


def edit_distance(expected: Sequence[str], transcribed: Sequence[str]) -> int:
    """Return the Levenshtein distance."""
    return _cost_table(expected, transcribed)[-1][-1]


def align(expected: Sequence[str], transcribed: Sequence[str]) -> AlignedPairs:
    """Return the alignment with the fewest changes, and of those the one with the most equal words."""
    table = _cost_table(expected, transcribed, equal=-1, change=CHANGE_COST)
    pairs: AlignedPairs = []
    i, j = len(expected), len(transcribed)
    while i or j:
        paired_cost = -1 if i and j and expected[i - 1] == transcribed[j - 1] else CHANGE_COST
        if i and j and table[i][j] == table[i - 1][j - 1] + paired_cost:
            i, j = i - 1, j - 1
            pairs.append((expected[i], transcribed[j]))
        elif i and table[i][j] == table[i - 1][j] + CHANGE_COST:
            i -= 1
            pairs.append((expected[i], None))
        else:
            j -= 1
            pairs.append((None, transcribed[j]))
    return pairs[::-1]


def _rate(expected: Sequence[str], transcribed: Sequence[str]) -> float:
    if not expected:
        return 0.0 if not transcribed else float("inf")
    return edit_distance(expected, transcribed) / len(expected)


def _cost_table(
    expected: Sequence[str], transcribed: Sequence[str], *, equal: int = 0, change: int = 1
) -> list[list[int]]:
    """Return at [i][j] the cost of turning the first i words of `expected` into the first j of `transcribed`."""
    rows = [[change * j for j in range(len(transcribed) + 1)]]
    for expected_word in expected:
        above = rows[-1]
        row = [above[0] + change]
        for j, transcribed_word in enumerate(transcribed, start=1):
            paired = above[j - 1] + (equal if expected_word == transcribed_word else change)
            row.append(min(above[j] + change, row[j - 1] + change, paired))
        rows.append(row)
    return rows
