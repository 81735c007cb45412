"""Cantonese: numbers and signs as in Mandarin, Jyutping readings, two phones a syllable (text-frontend §7.4)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.mandarin import normalize as mandarin_normalise
from GPT_SoVITS.text.symbols import MARKS, UNKNOWN, symbols

IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
COMPATIBILITY = "\uf900-\ufaff\U0002f800-\U0002fa1f"
"""Second forms of ideographs."""
RARE = re.compile(f"[\u9fa6-\u9fff{COMPATIBILITY}\U00020000-\U0003ffff]")
"""Ideographs of which few have a reading; in the other blocks all have one but these:"""
UNREAD = frozenset("䶶䶷䶸䶹䶺䶻䶼䶽䶾䶿乄乊乛牜犭糹纟罓肀艹衤覀訁讠辶釒钅飠饣")
NOT_SPOKEN = re.compile(f"[^{IDEOGRAPHS}{re.escape(MARKS)}]")
SYLLABLE = re.compile(r"([a-z]+)([1-6])")


class Cantonese:
    """Cantonese of Hong Kong."""

    code = "yue"

    def readable(self, character: str) -> bool:
        if re.match(f"[{IDEOGRAPHS}{COMPATIBILITY}]", character):
            return character not in UNREAD
        return mandarin_normalise.readable(character)

    def unread(self, text: str) -> list[tuple[int, str]]:
        """Rare ideographs that no dictionary of Jyutping has."""
        return [
            (match.start(), match[0])
            for match in RARE.finditer(text)
            if not _reading(mandarin_normalise.written_out(_unified(match[0])))
        ]

    def normalise(self, text: str) -> str:
        """Simplified ideographs and the six marks; quotation marks and brackets go, runs of marks stay."""
        text = mandarin_normalise.written_out("".join(map(_unified, text)))
        marks = table("zh_tables")["punctuation_map_yue"]
        return NOT_SPOKEN.sub("", _punctuation().sub(lambda match: marks[match[0]], text))

    def syllables(self, jyutping: Sequence[str]) -> tuple[list[str], list[int]]:
        """The phones of ideographs whose syllables are known."""
        return [phone for one in jyutping for phone in _phones(one)], [2] * len(jyutping)

    def phonemise(self, normalised: str, version: str) -> tuple[list[str], list[int]]:
        """One phone a mark and two a syllable; a few ideographs (卅) have two syllables."""
        from ToJyutping import get_jyutping_list

        phones: list[str] = []
        counts: list[int] = []
        for character, reading in get_jyutping_list(normalised):
            own = [character] if character in MARKS else _phones(reading or "")
            phones += own
            counts.append(len(own))
        return phones, counts


@lru_cache(maxsize=4096)
def _unified(character: str) -> str:
    """The usual form of an ideograph of the compatibility blocks."""
    return unicodedata.normalize("NFC", character) if re.match(f"[{COMPATIBILITY}]", character) else character


@cache
def _punctuation() -> re.Pattern[str]:
    marks = sorted(table("zh_tables")["punctuation_map_yue"], key=len, reverse=True)
    return re.compile("|".join(map(re.escape, marks)))


def _reading(character: str) -> str:
    from ToJyutping import get_jyutping_list

    return get_jyutping_list(character)[0][1] or "" if character else ""


@lru_cache(maxsize=4096)
def _phones(reading: str) -> list[str]:
    """Those of one ideograph: of each of its syllables the first part, and the second with the tone."""
    parts = [part for base, tone in SYLLABLE.findall(reading) for part in _split(base, tone)]
    return parts or [UNKNOWN, UNKNOWN]


def _split(base: str, tone: str) -> tuple[str, str]:
    """By the table that trained checkpoints depend on; where it names unknown phones, by the nearest ones."""
    known = symbols("v2")
    whole = f"Y{base}{tone}"
    first, second = table("jyutping_split").get(base) or (f"Y{base}", f"Y{base}")
    if first in known and second + tone in known:
        return first, second + tone
    for start in (*(first[:size] for size in range(len(first), 1, -1)), "Yo"):
        if start in known and whole in known:
            return start, whole
    return UNKNOWN, UNKNOWN
