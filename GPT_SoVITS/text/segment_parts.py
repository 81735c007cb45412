"""The parts of a segment of one language: plain text, and stretches whose pronunciation a user gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

CONTEXT = 20
"""Characters on either side of a part that may change how it is normalized."""


@dataclass(frozen=True, slots=True)
class SegmentPart:
    """A stretch of a segment, with the pronunciation that a user gave it."""

    text: str
    start: int
    """Characters before it in the whole text."""
    units: tuple[str, ...] = ()
    """Mandarin and Cantonese: a syllable for each ideograph; English and Japanese: phonemes. Empty for plain text."""


class SegmentPhonemes(NamedTuple):
    """The phonemes of a segment."""

    norm_text: str
    phonemes: list[str]
    word2ph: list[int] | None
    """Phonemes of each character of `norm_text`; None for languages that do not count them."""


def normalize_parts(
    parts: Sequence[SegmentPart], normalize: Callable[[str], str], stand_in: Callable[[SegmentPart], str]
) -> list[str]:
    """Return the normalized text of each part, numbers and titles read with the words beside them.

    `stand_in` gives what stands in the normalized text for a part with a pronunciation of its own.
    """
    normalized = []
    for index, part in enumerate(parts):
        if part.units:
            normalized.append(stand_in(part))
            continue
        before = parts[index - 1].text[-CONTEXT:] if index else ""
        after = parts[index + 1].text[:CONTEXT] if index + 1 < len(parts) else ""
        normalized.append(_normalize_in_context(normalize, before, part.text, after))
    return normalized


def _normalize_in_context(normalize: Callable[[str], str], before: str, text: str, after: str) -> str:
    """Normalize a text as it is between two others, where those keep their form; else by itself."""
    first, last = normalize(before) if before else "", normalize(after) if after else ""
    whole = normalize(before + text + after)
    if whole.startswith(first) and whole.endswith(last) and len(whole) >= len(first) + len(last):
        return whole[len(first) : len(whole) - len(last)]
    return normalize(text)


def phonemize_separately(
    parts: Sequence[SegmentPart],
    normalize: Callable[[str], str],
    phonemize: Callable[[str], list[str]],
) -> SegmentPhonemes:
    """Phonemize each part by itself: for a language in which a pronunciation changes nothing of the words beside it."""
    normalized = normalize_parts(parts, normalize, lambda part: part.text)
    phonemes = [
        phoneme
        for part, text in zip(parts, normalized)
        for phoneme in (part.units or (phonemize(text) if text.strip() else ()))
    ]
    return SegmentPhonemes("".join(normalized), phonemes, None)
