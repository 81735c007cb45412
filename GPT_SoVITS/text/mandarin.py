"""Mandarin: readings in context, tone sandhi by word, two phones a syllable."""

from __future__ import annotations

import re
from functools import lru_cache

from GPT_SoVITS.text import mandarin_normalise
from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.mandarin_readings import Reader, from_dictionary, in_context
from GPT_SoVITS.text.mandarin_tones import erhua, sandhi
from GPT_SoVITS.text.mandarin_words import Word, cut, halve, merge
from GPT_SoVITS.text.symbols import MARKS, UNKNOWN, symbols

STRETCH = re.compile(rf"[^{re.escape(MARKS)}]{{1,200}}[{re.escape(MARKS)}]?|[{re.escape(MARKS)}]")
"""Up to and with the next mark; 200 characters without a mark are cut, which bounds what jieba and pypinyin see."""

TONES = "12345"
INITIALS = frozenset(
    "b p m f d t n l g k h j q x zh ch sh r z c s y w".split()  # noqa: SIM905
)


class Mandarin:
    """Standard Mandarin; `reader` answers what a character in context is read as, pypinyin when not given."""

    code = "zh"

    def __init__(self, reader: Reader = in_context) -> None:
        self.reader = reader

    def readable(self, character: str) -> bool:
        return mandarin_normalise.readable(character)

    def normalise(self, text: str) -> str:
        return mandarin_normalise.normalise(text)

    def phonemise(self, normalised: str, version: str) -> tuple[list[str], list[int]]:
        """Two phones an ideograph and one a mark: the counts add up to the phones, and are as many as characters."""
        phones: list[str] = []
        counts: list[int] = []
        for stretch in STRETCH.findall(normalised):
            for character, syllable in zip(stretch, self._syllables(stretch, version)):
                if character in MARKS:
                    phones.append(character)
                    counts.append(1)
                else:
                    phones += _symbols(syllable)
                    counts.append(2)
        return phones, counts

    def _syllables(self, stretch: str, version: str) -> list[str]:
        if version == "v1":
            return [syllable for word in merge(cut(stretch)) for syllable in self._plain_word(word)]
        readings = self.reader(stretch)
        position = 0
        syllables: list[str] = []
        for word in merge(cut(stretch)):
            own = readings[position : position + len(word.text)]
            position += len(word.text)
            syllables += self._word(word, own)
        return syllables

    def _word(self, word: Word, readings: list[str]) -> list[str]:
        if word.text in MARKS:
            return readings
        fixed = from_dictionary(word.text)
        single = table("zh_pronunciation_overrides")["single_characters"]
        syllables = list(fixed) if fixed else [single.get(c, r) for c, r in zip(word.text, readings)]
        syllables = sandhi(word.text, word.tag, _said(syllables), halve)
        return erhua(word.text, word.tag, syllables)

    def _plain_word(self, word: Word) -> list[str]:
        """v1 knew pypinyin's readings of each word alone, and no 儿."""
        if word.text in MARKS:
            return [word.text]
        return sandhi(word.text, word.tag, _said(in_context(word.text)), halve)


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
