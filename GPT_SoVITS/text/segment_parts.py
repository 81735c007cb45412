"""The parts of a segment of one language: plain text, and stretches whose pronunciation a user gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from GPT_SoVITS.text.tracing import Span, TracedText

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
    spans: tuple[Span, ...] = ()
    """Where each character stands in the whole text, where they do not follow one another from `start` on."""

    def traced(self) -> TracedText:
        """Return its text with the places of its characters in the whole text."""
        return TracedText(self.text, self.spans) if self.spans else TracedText.written(self.text, self.start)

    def stand_in(self, text: str) -> TracedText:
        """Return what stands for it in a normalized text, all of it or a character for each of its own."""
        whole = self.traced()
        if len(text) == len(self.text):
            return TracedText(text, whole.spans)
        span = whole.span(0, len(self.text)) or Span(self.start, self.start)
        return TracedText(text, [span] * len(text))


class SourcedPhoneme(NamedTuple):
    """A phoneme, and the stretch of the text that it was read from."""

    phoneme: str
    source: Span | None
    """None for one that stands for nothing in the text."""


class SegmentPhonemes(NamedTuple):
    """The phonemes of a segment."""

    norm_text: str
    phonemes: list[str]
    word2ph: list[int] | None
    """Phonemes of each character of `norm_text`; None for languages that do not count them."""
    sources: list[Span | None]
    """The stretch of the whole text that each phoneme was read from."""

    @classmethod
    def of_words(cls, norm_text: str, phonemes: Sequence[SourcedPhoneme]) -> SegmentPhonemes:
        """Return phonemes that are not counted by character."""
        return cls(norm_text, [item.phoneme for item in phonemes], None, [item.source for item in phonemes])


def normalize_parts(
    parts: Sequence[SegmentPart],
    normalize: Callable[[TracedText], TracedText],
    stand_in: Callable[[SegmentPart], str],
) -> list[TracedText]:
    """Return the normalized text of each part, numbers and titles read with the words beside them.

    `stand_in` gives what stands in the normalized text for a part with a pronunciation of its own.
    """
    normalized = []
    for index, part in enumerate(parts):
        if part.units:
            normalized.append(part.stand_in(stand_in(part)))
            continue
        before = parts[index - 1].text[-CONTEXT:] if index else ""
        after = parts[index + 1].text[:CONTEXT] if index + 1 < len(parts) else ""
        normalized.append(_normalize_in_context(normalize, before, part, after))
    return normalized


def _normalize_in_context(
    normalize: Callable[[TracedText], TracedText], before: str, part: SegmentPart, after: str
) -> TracedText:
    """Normalize a part as it is between two others, where those keep their form; else by itself."""
    if not before and not after:
        return normalize(part.traced())
    first = normalize(TracedText(before)).text if before else ""
    last = normalize(TracedText(after)).text if after else ""
    nowhere = Span(part.start, part.start)
    around = [TracedText(text, [nowhere] * len(text)) for text in (before, after)]
    whole = normalize(TracedText.join([around[0], part.traced(), around[1]]))
    if whole.text.startswith(first) and whole.text.endswith(last) and len(whole) >= len(first) + len(last):
        return whole.cut(len(first), len(whole) - len(last))
    return normalize(part.traced())


def phonemize_separately(
    parts: Sequence[SegmentPart],
    normalize: Callable[[TracedText], TracedText],
    phonemize: Callable[[TracedText], list[SourcedPhoneme]],
) -> SegmentPhonemes:
    """Phonemize each part by itself: for a language in which a pronunciation changes nothing of the words beside it."""
    normalized = normalize_parts(parts, normalize, lambda part: part.text)
    phonemes: list[SourcedPhoneme] = []
    for part, text in zip(parts, normalized):
        if part.units:
            source = text.span(0, len(text))
            phonemes += [SourcedPhoneme(unit, source) for unit in part.units]
        elif text.text.strip():
            phonemes += phonemize(text)
    return SegmentPhonemes.of_words("".join(text.text for text in normalized), phonemes)
