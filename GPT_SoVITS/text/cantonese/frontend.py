"""Cantonese: normalized as Mandarin, Jyutping syllables, two phonemes each (docs/spec/text-frontend.md §7.4)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.mandarin import normalize as mandarin_normalize
from GPT_SoVITS.text.segment_parts import SegmentPart, SegmentPhonemes, normalize_parts
from GPT_SoVITS.text.symbols import PUNCTUATION, UNKNOWN, symbols
from GPT_SoVITS.text.tracing import Span, TracedText

IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
COMPATIBILITY = "\uf900-\ufaff\U0002f800-\U0002fa1f"
"""Second forms of ideographs."""
RARE = re.compile(f"[\u9fa6-\u9fff{COMPATIBILITY}\U00020000-\U0003ffff]")
"""Ideographs of which few have a pronunciation; in the other blocks all have one but these:"""
WITHOUT_PRONUNCIATION = frozenset("䶶䶷䶸䶹䶺䶻䶼䶽䶾䶿乄乊乛牜犭糹纟罓肀艹衤覀訁讠辶釒钅飠饣")
NOT_SPOKEN = re.compile(f"[^{IDEOGRAPHS}{re.escape(PUNCTUATION)}]")
SYLLABLE = re.compile(r"([a-z]+)([1-6])")


class Cantonese:
    """Cantonese of Hong Kong."""

    code = "yue"

    def is_readable(self, character: str) -> bool:
        """Return whether Cantonese says the character, or may pass over it."""
        if re.match(f"[{IDEOGRAPHS}{COMPATIBILITY}]", character):
            return character not in WITHOUT_PRONUNCIATION
        return mandarin_normalize.is_readable(character)

    def find_unreadable(self, text: str) -> list[tuple[int, str]]:
        """Return rare ideographs that the dictionary of Jyutping lacks."""
        from ToJyutping import get_jyutping_list

        unreadable = []
        for match in RARE.finditer(text):
            ideograph = mandarin_normalize.write_out(TracedText(_usual_form(match[0]))).text
            if not ideograph or not get_jyutping_list(ideograph)[0][1]:
                unreadable.append((match.start(), match[0]))
        return unreadable

    def normalize(self, text: str) -> str:
        """Return simplified ideographs and the six punctuation characters, of which runs stay."""
        return self.rewrite(TracedText(text)).text

    def rewrite(self, text: TracedText) -> TracedText:
        """Normalize a text and keep track of its characters."""
        text = mandarin_normalize.write_out(text.map(_usual_form))
        punctuation = table("zh_tables")["punctuation_map_yue"]
        return text.sub(_punctuation_pattern(), lambda match: punctuation[match[0]]).sub(NOT_SPOKEN, "")

    def phonemize(self, parts: Sequence[SegmentPart], version: str) -> SegmentPhonemes:
        """Return two phonemes for each syllable and one for punctuation; a few ideographs (卅) have two syllables."""
        from ToJyutping import get_jyutping_list

        normalized = normalize_parts(parts, self.rewrite, lambda part: part.text)
        phonemes: list[str] = []
        counts: list[int] = []
        sources: list[Span | None] = []
        for part, text in zip(parts, normalized):
            if part.units:
                syllables = [_phonemes_of_jyutping(jyutping) for jyutping in part.units]
            else:
                syllables = [
                    [character] if character in PUNCTUATION else _phonemes_of_jyutping(jyutping or "")
                    for character, jyutping in get_jyutping_list(text.text)
                ]
            phonemes += [phoneme for syllable in syllables for phoneme in syllable]
            counts += map(len, syllables)
            for position, syllable in enumerate(syllables):
                sources += [text.span(position, position + 1)] * len(syllable)
        return SegmentPhonemes("".join(text.text for text in normalized), phonemes, counts, sources)


@lru_cache(maxsize=4096)
def _usual_form(character: str) -> str:
    """Return the usual form of an ideograph of the compatibility blocks."""
    return unicodedata.normalize("NFC", character) if re.match(f"[{COMPATIBILITY}]", character) else character


@cache
def _punctuation_pattern() -> re.Pattern[str]:
    characters = sorted(table("zh_tables")["punctuation_map_yue"], key=len, reverse=True)
    return re.compile("|".join(map(re.escape, characters)))


@lru_cache(maxsize=4096)
def _phonemes_of_jyutping(jyutping: str) -> list[str]:
    """Return the phonemes of an ideograph: of each of its syllables the first part, and the second with the tone."""
    phonemes = [phoneme for base, tone in SYLLABLE.findall(jyutping) for phoneme in _split_syllable(base, tone)]
    return phonemes or [UNKNOWN, UNKNOWN]


def _split_syllable(base: str, tone: str) -> tuple[str, str]:
    """Split by the table that trained checkpoints depend on; where it names unknown phonemes, into the nearest ones."""
    known_symbols = symbols("v2")
    whole = f"Y{base}{tone}"
    first, second = table("jyutping_split").get(base) or (f"Y{base}", f"Y{base}")
    if first in known_symbols and second + tone in known_symbols:
        return first, second + tone
    for start in (*(first[:size] for size in range(len(first), 1, -1)), "Yo"):
        if start in known_symbols and whole in known_symbols:
            return start, whole
    return UNKNOWN, UNKNOWN
