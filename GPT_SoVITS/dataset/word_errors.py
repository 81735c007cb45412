"""How far a transcript is from its text: error rates, and the words that were skipped or said twice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

BY_CHARACTERS = ("zh", "yue", "ja", "ko")
"""Judged by characters: written without blanks, or (Korean) with blanks that recognisers set as they like."""
_CHINESE = ("zh",)
_CHANGE = 1 << 20
"""Of an alignment: no number of equal words outweighs one change."""
NEAR = 3
"""An added word counts as said twice when the text has the same one at most so many words away."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a recogniser heard against what was to be said."""

    wer: float
    """Wrong words (characters, for `BY_CHARACTERS`) in proportion to those of the text; may exceed 1."""
    cer: float
    """The same by characters."""
    repeated: tuple[str, ...] = ()
    """Words that were heard once more than the text has them, near to where it does."""
    skipped: tuple[str, ...] = ()
    """Words of the text in whose place nothing was heard."""


def compare(expected: str, heard: str, language: str) -> Comparison:
    """Everything that two texts tell about speech."""
    wanted, found = words(expected, language), words(heard, language)
    pairs = align(wanted, found)
    return Comparison(
        wer=error_rate(expected, heard, language),
        cer=_rate(list("".join(wanted)), list("".join(found))),
        repeated=_repeated(pairs),
        skipped=tuple(one for one, other in pairs if one is not None and other is None),
    )


def error_rate(expected: str, heard: str, language: str) -> float:
    """Substitutions, insertions and deletions in proportion to the words (or characters) of `expected`."""
    return _rate(words(expected, language), words(heard, language))


def words(text: str, language: str) -> list[str]:
    """What is compared: numbers written out, no capitals, no punctuation; characters where the language wants it."""
    from GPT_SoVITS.text.english import normalize as english_normalize
    from GPT_SoVITS.text.mandarin import normalize as mandarin_normalize

    if language in BY_CHARACTERS:
        spoken = mandarin_normalize.normalize(text) if language in _CHINESE else text
        return re.findall(r"[^\W_]", spoken.lower())
    spoken = english_normalize.normalize(text) if language == "en" else text
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", spoken.lower().replace("’", "'").replace("-", " "))


def edit_distance(expected: Sequence[str], heard: Sequence[str]) -> int:
    """Levenshtein distance."""
    return _table(expected, heard)[-1][-1]


def align(expected: Sequence[str], heard: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Pairs in order, with None where one side has nothing; the fewest changes, and of those the most equal words."""
    table = _table(expected, heard, equal=-1, change=_CHANGE)
    pairs: list[tuple[str | None, str | None]] = []
    i, j = len(expected), len(heard)
    while i or j:
        if i and j and table[i][j] == table[i - 1][j - 1] + (-1 if expected[i - 1] == heard[j - 1] else _CHANGE):
            i, j = i - 1, j - 1
            pairs.append((expected[i], heard[j]))
        elif i and table[i][j] == table[i - 1][j] + _CHANGE:
            i -= 1
            pairs.append((expected[i], None))
        else:
            j -= 1
            pairs.append((None, heard[j]))
    return pairs[::-1]


def _rate(wanted: Sequence[str], found: Sequence[str]) -> float:
    if not wanted:
        return 0.0 if not found else float("inf")
    return edit_distance(wanted, found) / len(wanted)


def _table(expected: Sequence[str], heard: Sequence[str], *, equal: int = 0, change: int = 1) -> list[list[int]]:
    """[i][j]: what it costs to turn the first i words of one into the first j of the other."""
    rows = [[change * j for j in range(len(heard) + 1)]]
    for wanted in expected:
        above = rows[-1]
        row = [above[0] + change]
        for j, found in enumerate(heard, start=1):
            paired = above[j - 1] + (equal if wanted == found else change)
            row.append(min(above[j] + change, row[j - 1] + change, paired))
        rows.append(row)
    return rows


def _repeated(pairs: Sequence[tuple[str | None, str | None]]) -> tuple[str, ...]:
    found = []
    for place, (wanted, heard) in enumerate(pairs):
        around = pairs[max(0, place - NEAR) : place + NEAR + 1]
        if wanted is None and heard is not None and any(one == heard for one, _ in around):
            found.append(heard)
    return tuple(found)
