"""Pinyin of Mandarin characters: readings in context, and words whose reading a dictionary fixes.

A syllable is its pinyin with the tone as a last digit, 5 for the neutral tone, `v` for ü: `lv4`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache

from GPT_SoVITS.text.data import table

Reader = Callable[[str], list[str]]
"""One stretch of text → one syllable a character (a mark stands for itself); a polyphone model has this shape too."""

RARE = {
    "兙": "ke4", "兡": "ke4", "瓧": "wa3", "瓰": "wa3", "瓱": "wa3", 
    "瓼": "wa3", "甅": "wa3", "嗧": "lun2", "桛": "ka3",
    "噷": "hen1", "嗯": "en5", "呣": "mu3",
}  # fmt: skip
"""Characters that pypinyin gives no reading, or none with a vowel: the last syllable of units, and what is near."""
UNREAD = frozenset("烪")
"""The one ideograph of U+4E00–9FA5 without a known reading."""


@lru_cache(maxsize=8192)
def _in_context(text: str) -> tuple[str, ...]:
    from pypinyin import Style, lazy_pinyin

    syllables = lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True, v_to_u=False, errors=list)
    if len(syllables) != len(text):  # each character must keep its place
        return tuple(_in_context(character)[0] for character in text) if len(text) > 1 else (text,)
    return tuple(RARE.get(character, syllable.replace("ü", "v")) for character, syllable in zip(text, syllables))


def in_context(text: str) -> list[str]:
    """pypinyin's reading: its phrases first, then each character's usual one."""
    return list(_in_context(text))


def in_phrases(text: str) -> set[int]:
    """Where `in_context` reads a character as part of a phrase that it knows."""
    from pypinyin.seg.mmseg import seg

    found: set[int] = set()
    start = 0
    for word in seg.cut(text):
        if len(word) > 1 and word in _phrases():
            found.update(range(start, start + len(word)))
        start += len(word)
    return found


@lru_cache(maxsize=8192)
def from_dictionary(word: str) -> tuple[str, ...] | None:
    """The reading of a whole word, where the reference's dictionary has it."""
    changed, absent = _changes()
    if word in changed:
        return changed[word]
    if len(word) < 2 or word in absent or word not in _phrases():
        return None
    return tuple(_plain(marked[0]) for marked in _phrases()[word])


@cache
def _changes() -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    changes = table("zh_pronunciation_overrides")
    words = {word: tuple(reading) for word, reading in changes["differs_from_pypinyin_0_55"].items()}
    return words, frozenset(changes["pypinyin_phrases_not_in_reference_dictionary"])


@cache
def _phrases() -> dict[str, list[list[str]]]:
    from pypinyin.constants import PHRASES_DICT

    return PHRASES_DICT


@lru_cache(maxsize=4096)
def _plain(marked: str) -> str:
    """`hǎo` → `hao3`."""
    from pypinyin.contrib.tone_convert import to_tone3

    return to_tone3(marked, neutral_tone_with_five=True).replace("ü", "v")
