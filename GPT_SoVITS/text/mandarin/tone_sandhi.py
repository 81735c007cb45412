"""Tone sandhi inside a Mandarin word: 不, 一, neutral and third tones, and 儿 (docs/spec/text-frontend.md §6.2).

The rules follow PaddleSpeech's (Apache-2.0), whose word lists are in `data/zh_tables.json`. A syllable here is a string
that ends in its tone, 1 to 5: `ni3`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from GPT_SoVITS.text.data import table

NUMERALS = frozenset("零一二三四五六七八九十百千万亿幺两〇0123456789")
NEUTRAL_ENDINGS = frozenset("吧呢哈啊呐噻嘛吖嗨呐哦哒额滴哩哟喽啰耶喔诶")
QUANTIFIERS = frozenset("几有两半多各整每做是")
DIRECTIONS = frozenset("上下进出回过起开")
NO_SANDHI_BEFORE = frozenset("：，；。？！“”‘’':,;.?!")


@cache
def word_list(name: str) -> frozenset[str]:
    """Return one of the word lists of `data/zh_tables.json`."""
    return frozenset(table("zh_tables")[name])


def apply_sandhi(word: str, tag: str, syllables: Sequence[str], halve: Callable[[str], Sequence[str]]) -> list[str]:
    """Return the syllables of a word as they are spoken.

    `tag` is the word's part of speech; `halve` cuts a word in two, or returns it alone where it cannot be cut.
    """
    changed = list(syllables)
    _change_bu(word, changed)
    _change_yi(word, changed)
    _change_neutral(word, tag, changed, halve)
    _change_third_tones(word, changed, halve)
    return changed


def all_third(syllables: Sequence[str]) -> bool:
    """Return whether every syllable has the third tone."""
    return all(syllable[-1] == "3" for syllable in syllables)


def _set_tone(syllables: list[str], index: int, tone: str) -> None:
    syllables[index] = syllables[index][:-1] + tone


def _change_bu(word: str, syllables: list[str]) -> None:
    if len(word) == 3 and word[1] == "不":
        _set_tone(syllables, 1, "5")
        return
    for index, character in enumerate(word[:-1]):
        if character == "不" and syllables[index + 1][-1] == "4":
            _set_tone(syllables, index, "2")


def _change_yi(word: str, syllables: list[str]) -> None:
    if "一" not in word or all(character in NUMERALS for character in word if character != "一"):
        return
    if len(word) == 3 and word[1] == "一" and word[0] == word[2]:
        _set_tone(syllables, 1, "5")
    elif word.startswith("第一"):
        _set_tone(syllables, 1, "1")
    else:
        for index, character in enumerate(word[:-1]):
            if character != "一":
                continue
            if syllables[index + 1][-1] == "4":
                _set_tone(syllables, index, "2")
            elif word[index + 1] not in NO_SANDHI_BEFORE:
                _set_tone(syllables, index, "4")


def _change_neutral(word: str, tag: str, syllables: list[str], halve: Callable[[str], Sequence[str]]) -> None:
    never_neutral, must_be_neutral = word_list("never_neutral_words"), word_list("must_neutral_words")
    for index in range(1, len(word)):
        if word[index] == word[index - 1] and tag[:1] in ("n", "v", "a") and word not in never_neutral:
            _set_tone(syllables, index, "5")
    # The first rule that fits decides; only 个 may stand before the end of its word.
    last, before = word[-1], word[-2:-1]
    counter = word.find("个")
    if (
        last in NEUTRAL_ENDINGS
        or last in "的地得"
        or (word in ("了", "着", "过") and tag in ("ul", "uz", "ug"))
        or (before and last in "们子" and tag in ("r", "n") and word not in never_neutral)
        or (before and last in "上下里" and tag in ("s", "l", "f"))
        or (before in DIRECTIONS and last in "来去")
    ):
        _set_tone(syllables, -1, "5")
    elif word == "个" or (counter >= 1 and (word[counter - 1] in NUMERALS or word[counter - 1] in QUANTIFIERS)):
        _set_tone(syllables, counter, "5")
    elif word in must_be_neutral or word[-2:] in must_be_neutral:
        _set_tone(syllables, -1, "5")
    start = 0
    for half in halve(word):
        if half in must_be_neutral or half[-2:] in must_be_neutral:
            _set_tone(syllables, start + len(half) - 1, "5")
        start += len(half)


def _change_third_tones(word: str, syllables: list[str], halve: Callable[[str], Sequence[str]]) -> None:
    if len(word) in (2, 4):
        for start in range(0, len(word), 2):
            if all_third(syllables[start : start + 2]):
                _set_tone(syllables, start, "2")
    elif len(word) == 3:
        halves = halve(word)
        border = len(halves[0])
        if all_third(syllables):
            _set_tone(syllables, 0 if border == 2 else 1, "2")
            if border == 2:
                _set_tone(syllables, 1, "2")
        elif len(halves) == 2:
            first, second = syllables[:border], syllables[border:]
            if len(first) == 2 and all_third(first):
                _set_tone(syllables, 0, "2")
            elif len(second) == 2 and all_third(second):
                _set_tone(syllables, border, "2")
            elif first[-1][-1] == "3" and second[0][-1] == "3" and not all_third(second):
                _set_tone(syllables, border - 1, "2")


def merge_erhua(word: str, tag: str, syllables: list[str]) -> list[str]:
    """Give a 儿 that colors the syllable before it that syllable's tone; it stays a syllable of its own."""
    if word[-1] == "儿" and syllables[-1] == "er1":
        syllables[-1] = "er2"
    if word not in word_list("erhua_always") and (word in word_list("erhua_never") or tag in ("a", "j", "nr")):
        return syllables
    if (
        word[-1] == "儿"
        and syllables[-1] in ("er2", "er5")
        and len(word) > 1
        and word[-2:] not in word_list("erhua_never")
    ):
        _set_tone(syllables, -1, syllables[-2][-1])
    return syllables
