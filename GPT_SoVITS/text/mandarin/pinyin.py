"""Pinyin of Mandarin characters: by pypinyin in context, and of words that a dictionary decides.

A syllable is its Pinyin with the tone as the last digit, 5 for the neutral tone, `v` for ü: `lv4`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache

from GPT_SoVITS.text.data import table

PolyphoneModel = Callable[[str], Sequence[str]]
"""A stretch of text → a syllable for each character (punctuation stands for itself), as `pinyin_in_context`."""

RARE = {
    "兙": "ke4", "兡": "ke4", "瓧": "wa3", "瓰": "wa3", "瓱": "wa3", 
    "瓼": "wa3", "甅": "wa3", "嗧": "lun2", "桛": "ka3",
    "噷": "hen1", "嗯": "en5", "呣": "mu3",
}  # fmt: skip
"""Characters for which pypinyin has no syllable, or none with a vowel: the last syllable of units, and what is near."""
WITHOUT_PRONUNCIATION = frozenset("烪")
"""The one ideograph of U+4E00–9FA5 without a known pronunciation."""


@lru_cache(maxsize=8192)
def pinyin_in_context(text: str) -> tuple[str, ...]:
    """Return pypinyin's syllable of each character: by its phrases first, then each character's usual one."""
    from pypinyin import Style, lazy_pinyin

    syllables = lazy_pinyin(
        text,
        style=Style.TONE3,
        neutral_tone_with_five=True,
        v_to_u=False,
        errors=list,  # type: ignore[arg-type]  # a list, which the stubs do not know, keeps one item for each character
    )
    if len(syllables) != len(text):  # each character must keep its place
        return tuple(pinyin_in_context(character)[0] for character in text) if len(text) > 1 else (text,)
    return tuple(RARE.get(character, syllable.replace("ü", "v")) for character, syllable in zip(text, syllables))


def indices_in_phrases(text: str) -> set[int]:
    """Return where `pinyin_in_context` reads a character as part of a phrase of pypinyin."""
    from pypinyin.seg.mmseg import seg

    indices: set[int] = set()
    start = 0
    for word in seg.cut(text):
        if len(word) > 1 and word in _phrases():
            indices.update(range(start, start + len(word)))
        start += len(word)
    return indices


@lru_cache(maxsize=8192)
def pinyin_of_word(word: str) -> tuple[str, ...] | None:
    """Return the syllables of a whole word where upstream's dictionary has it, else None."""
    from pypinyin.contrib.tone_convert import to_tone3

    changed, absent = _differences_from_pypinyin()
    if word in changed:
        return changed[word]
    if len(word) < 2 or word in absent or word not in _phrases():
        return None
    return tuple(
        to_tone3(syllables[0], neutral_tone_with_five=True).replace("ü", "v") for syllables in _phrases()[word]
    )


@cache
def _differences_from_pypinyin() -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    """Return the words that upstream's dictionary pronounces otherwise, and those that it lacks."""
    overrides = table("zh_pronunciation_overrides")
    changed = {word: tuple(syllables) for word, syllables in overrides["differs_from_pypinyin_0_55"].items()}
    return changed, frozenset(overrides["pypinyin_phrases_not_in_reference_dictionary"])


@cache
def _phrases() -> dict[str, list[list[str]]]:
    from pypinyin.constants import PHRASES_DICT

    return PHRASES_DICT
