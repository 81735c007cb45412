"""Mandarin: syllables in context, tone sandhi by word, two phonemes a syllable (docs/spec/text-frontend.md §6.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.mandarin import normalize as mandarin_normalize
from GPT_SoVITS.text.mandarin.pinyin import PolyphoneModel, pinyin_in_context, pinyin_of_word
from GPT_SoVITS.text.mandarin.tone_sandhi import apply_sandhi, merge_erhua
from GPT_SoVITS.text.mandarin.word_segmentation import halve, merge_words, tag_words
from GPT_SoVITS.text.segment_parts import SegmentPart, SegmentPhonemes, normalize_parts
from GPT_SoVITS.text.symbols import PUNCTUATION, UNKNOWN, symbols
from GPT_SoVITS.text.tracing import Span, TracedText

STRETCH = re.compile(rf"[^{re.escape(PUNCTUATION)}]{{1,200}}[{re.escape(PUNCTUATION)}]?|[{re.escape(PUNCTUATION)}]")
"""Up to and with the next punctuation; 200 characters without any are cut, which bounds what jieba and pypinyin see."""
TONES = "12345"
INITIALS = frozenset(
    "b p m f d t n l g k h j q x zh ch sh r z c s y w".split()  # noqa: SIM905
)
PAUSE_PHONEMES = {"￥": "SP2", "^": "SP3"}
"""Characters that stand for a long pause; ￥ only where no amount of money stands beside it, ^ but in a power."""
PAUSE_CHARACTER = re.compile(r"(?<![0-9])\^|\^(?![0-9])|(?<![0-9])￥(?![0-9-])")
PLACEHOLDER = "某"
"""Stands in the text feature for an ideograph that Mandarin's symbols were never taught with: "a certain"."""


class Mandarin:
    """Standard Mandarin."""

    code = "zh"

    def __init__(self, polyphones: PolyphoneModel | None = None) -> None:
        """Ask `polyphones` about characters with several syllables; by default g2pM if it is installed, or pypinyin."""
        if polyphones is None:
            polyphones = pinyin_in_context
            if find_spec("g2pM") is not None:
                from GPT_SoVITS.text.mandarin.g2pm import predict_pinyin

                polyphones = predict_pinyin
        self.polyphones = polyphones

    def is_readable(self, character: str) -> bool:
        """Return whether Mandarin says the character, or may pass over it."""
        return mandarin_normalize.is_readable(character)

    def find_unreadable(self, text: str) -> list[tuple[int, str]]:
        """Return []: `is_readable` accepts no ideograph without a syllable."""
        return []

    def normalize(self, text: str) -> str:
        """Return the text in ideographs and the six punctuation characters alone."""
        return mandarin_normalize.normalize(text)

    def rewrite(self, text: TracedText) -> TracedText:
        """Normalize a text and keep track of its characters."""
        return mandarin_normalize.rewrite(text)

    def phonemize(self, parts: Sequence[SegmentPart], version: str) -> SegmentPhonemes:
        """Return two phonemes for each ideograph and one for each punctuation character.

        There is a count for each character of the normalized text, and the counts add up to the phonemes. What stands
        beside a syllable that a user gave takes the tone that it has before such a syllable.
        """
        parts = [split for part in parts for split in _split_at_pauses(part)]
        pieces: list[TracedText] = []
        overrides: dict[int, str] = {}
        length = 0
        for part, text in zip(parts, normalize_parts(parts, self.rewrite, self._stand_in)):
            if pieces and pieces[-1].text[-1] in PUNCTUATION:
                text = text.cut(len(text) - len(text.text.lstrip(PUNCTUATION)))  # as everywhere, none follows another
            overrides.update({length + index: unit for index, unit in enumerate(part.units[: len(text)])})
            if text.text:
                pieces.append(text)
                length += len(text)
        traced = TracedText.join(pieces)
        norm_text = traced.text
        phonemes: list[str] = []
        counts: list[int] = []
        sources: list[Span | None] = []
        for match in STRETCH.finditer(norm_text):
            own = [overrides.get(position) for position in range(match.start(), match.end())]
            syllables = self._syllables(match[0], version, own)
            for position, character, override, syllable in zip(range(*match.span()), match[0], own, syllables):
                if character in PUNCTUATION:
                    phonemes.append(override or character)
                    counts.append(1)
                else:
                    phonemes += _initial_and_final(syllable)
                    counts.append(2)
                sources += [traced.span(position, position + 1)] * counts[-1]
        return SegmentPhonemes(norm_text, phonemes, counts, sources)

    def _stand_in(self, part: SegmentPart) -> str:
        characters = []
        for character, _ in zip(part.text, part.units):
            normalized = "," if character in PAUSE_PHONEMES else self.normalize(character)
            is_known = character in PAUSE_PHONEMES or (len(normalized) == 1 and "一" <= normalized <= "龥")
            characters.append(normalized if is_known else PLACEHOLDER)
        return "".join(characters)

    def _syllables(self, stretch: str, version: str, overrides: Sequence[str | None]) -> list[str]:
        """Return a syllable for each character.

        v1 knew pypinyin's syllables of each word by itself, and no 儿 that colors the syllable before it.
        """
        in_context = None if version == "v1" else self.polyphones(stretch)
        single = table("zh_pronunciation_overrides")["single_characters"]
        start = 0
        syllables: list[str] = []
        for word in merge_words(tag_words(stretch)):
            own = slice(start, start + len(word.text))
            start = own.stop
            if word.text in PUNCTUATION:
                syllables.append(word.text)
                continue
            lexical: Sequence[str]
            if in_context is None:
                lexical = pinyin_in_context(word.text)
            else:
                lexical = pinyin_of_word(word.text) or [
                    single.get(character, syllable) for character, syllable in zip(word.text, in_context[own])
                ]
            lexical = [override or syllable for override, syllable in zip(overrides[own], lexical, strict=True)]
            # The neutral tone where none is given, as for a character that no table has.
            lexical = [syllable if syllable[-1:] in TONES else f"{syllable}5" for syllable in lexical]
            spoken = apply_sandhi(word.text, word.tag, lexical, halve)
            if in_context is not None:
                spoken = merge_erhua(word.text, word.tag, spoken)
            syllables += [override or syllable for override, syllable in zip(overrides[own], spoken, strict=True)]
        return syllables


def _split_at_pauses(part: SegmentPart) -> Iterator[SegmentPart]:
    """Yield the part with each of its pause characters as a part of its own."""
    end = 0
    for match in PAUSE_CHARACTER.finditer(part.text) if not part.units else ():
        yield SegmentPart(part.text[end : match.start()], part.start + end)
        yield SegmentPart(match[0], part.start + match.start(), (PAUSE_PHONEMES[match[0]],))
        end = match.end()
    yield SegmentPart(part.text[end:], part.start + end, part.units)


@lru_cache(maxsize=4096)
def _initial_and_final(syllable: str) -> tuple[str, str]:
    """Return the initial, and the final with its tone; for the few syllables that the table lacks, the nearest ones."""
    base, tone = syllable[:-1], syllable[-1]
    initials_and_finals = table("pinyin_to_symbols")
    if base in initials_and_finals:
        initial, final = initials_and_finals[base]
        return initial, final + tone
    for size in (2, 1):  # fiao is no standard syllable, yet f and iao are both known
        if base[:size] in INITIALS and f"{base[size:]}{tone}" in symbols("v1"):
            return base[:size], base[size:] + tone
    for size in range(len(base) - 1, 0, -1):  # 瓩 "qianwa" and its like: one character, two syllables
        if base[:size] in initials_and_finals:
            return _initial_and_final(base[:size] + tone)
    return UNKNOWN, UNKNOWN
