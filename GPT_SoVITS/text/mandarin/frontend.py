"""Mandarin: readings in context, tone sandhi by word, two phones a syllable."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.mandarin import normalize as mandarin_normalise
from GPT_SoVITS.text.mandarin.pinyin import Reader, from_dictionary, in_context
from GPT_SoVITS.text.mandarin.tone_sandhi import erhua, sandhi
from GPT_SoVITS.text.mandarin.word_segmentation import Word, cut, halve, merge
from GPT_SoVITS.text.symbols import MARKS, UNKNOWN, symbols

STRETCH = re.compile(rf"[^{re.escape(MARKS)}]{{1,200}}[{re.escape(MARKS)}]?|[{re.escape(MARKS)}]")
"""Up to and with the next mark; 200 characters without a mark are cut, which bounds what jieba and pypinyin see."""

TONES = "12345"
INITIALS = frozenset(
    "b p m f d t n l g k h j q x zh ch sh r z c s y w".split()  # noqa: SIM905
)


class Mandarin:
    """Standard Mandarin.

    `reader` answers what a character in context is read as: `mandarin_g2pw.G2PW` where its model is there; when not
    given, g2pM where it is installed, else pypinyin alone.
    """

    code = "zh"

    def __init__(self, reader: Reader | None = None) -> None:
        self.reader = reader or _default_reader()

    def readable(self, character: str) -> bool:
        return mandarin_normalise.readable(character)

    def unread(self, text: str) -> list[tuple[int, str]]:
        return []

    def normalise(self, text: str) -> str:
        return mandarin_normalise.normalise(text)

    def phonemise(
        self, normalised: str, version: str, fixed: Mapping[int, str] | None = None
    ) -> tuple[list[str], list[int]]:
        """Two phones an ideograph and one a mark: the counts add up to the phones, and are as many as characters.

        `fixed`: the syllables of the characters whose reading is not to be asked for, and the phones of marks; what
        is beside them takes the tone that it has before such a syllable.
        """
        phones: list[str] = []
        counts: list[int] = []
        for match in STRETCH.finditer(normalised):
            stretch = match[0]
            known = [(fixed or {}).get(place) for place in range(match.start(), match.end())]
            for character, own, syllable in zip(stretch, known, self._syllables(stretch, version, known)):
                if character in MARKS:
                    phones.append(own or character)
                    counts.append(1)
                else:
                    phones += _symbols(syllable)
                    counts.append(2)
        return phones, counts

    def _syllables(self, stretch: str, version: str, known: Sequence[str | None]) -> list[str]:
        readings = None if version == "v1" else self.reader(stretch)
        position = 0
        syllables: list[str] = []
        for word in merge(cut(stretch)):
            own = slice(position, position + len(word.text))
            position = own.stop
            syllables += self._word(word, None if readings is None else readings[own], known[own])
        return syllables

    def _word(self, word: Word, readings: list[str] | None, known: Sequence[str | None]) -> list[str]:
        """`readings`: None for v1, which knew pypinyin's readings of each word alone, and no 儿."""
        if word.text in MARKS:
            return [word.text]
        syllables = in_context(word.text) if readings is None else _corrected(word.text, readings)
        syllables = sandhi(word.text, word.tag, _said(_with(known, syllables)), halve)
        if readings is not None:
            syllables = erhua(word.text, word.tag, syllables)
        return _with(known, syllables)


def _corrected(word: str, readings: list[str]) -> list[str]:
    """The dictionary's reading of a whole word, else that of its characters in context."""
    fixed = from_dictionary(word)
    single = table("zh_pronunciation_overrides")["single_characters"]
    return list(fixed) if fixed else [single.get(c, r) for c, r in zip(word, readings)]


def _with(known: Sequence[str | None], syllables: Sequence[str]) -> list[str]:
    return [own or syllable for own, syllable in zip(known, syllables, strict=True)]


def _default_reader() -> Reader:
    if find_spec("g2pM") is None:
        return in_context
    from GPT_SoVITS.text.mandarin.g2pm import read

    return read


def _said(syllables: list[str]) -> list[str]:
    """Every syllable with a tone: 5 where none is given, as for a character that no table reads."""
    return [syllable if syllable[-1:] in TONES else f"{syllable}5" for syllable in syllables]


@lru_cache(maxsize=4096)
def _symbols(syllable: str) -> tuple[str, str]:
    """Initial, and final with its tone; for the few syllables that the table lacks, the nearest that there is."""
    base, tone = syllable[:-1], syllable[-1]
    known = table("pinyin_to_symbols")
    if base in known:
        initial, final = known[base]
        return initial, final + tone
    for size in (2, 1):  # fiao is no standard syllable, yet f and iao are both known
        if base[:size] in INITIALS and f"{base[size:]}{tone}" in symbols("v1"):
            return base[:size], base[size:] + tone
    for size in range(len(base) - 1, 0, -1):  # 瓩 "qianwa" and its like: one character, two syllables
        if base[:size] in known:
            return _symbols(base[:size] + tone)
    return UNKNOWN, UNKNOWN
