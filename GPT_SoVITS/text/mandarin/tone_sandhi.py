"""What Mandarin tones do to each other inside a word: 不, 一, neutral and third tones, and 儿.

The rules follow PaddleSpeech's (Apache-2.0), whose word lists are in `data/zh_tables.json`. A syllable here is a string
that ends in its tone, 1–5: `ni3`. `halves` is a word cut in two, or the word alone where it cannot be cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from GPT_SoVITS.text.data import table

NUMERALS = frozenset("零一二三四五六七八九十百千万亿幺两〇0123456789")
NEUTRAL_ENDINGS = frozenset("吧呢哈啊呐噻嘛吖嗨呐哦哒额滴哩哟喽啰耶喔诶")
COUNTS = frozenset("几有两半多各整每做是")
DIRECTIONS = frozenset("上下进出回过起开")
NO_SANDHI_BEFORE = frozenset("：，；。？！“”‘’':,;.?!")


@cache
def words(name: str) -> frozenset[str]:
    return frozenset(table("zh_tables")[name])


def sandhi(word: str, tag: str, syllables: Sequence[str], halve: Callable[[str], list[str]]) -> list[str]:
    """The syllables of one word as they are said; `tag` is its part of speech, `halve` cuts a word in two."""
    changed = list(syllables)
    _bu(word, changed)
    _yi(word, changed)
    _neutral(word, tag, changed, halve)
    _third_tones(word, changed, halve)
    return changed


def _set(syllables: list[str], index: int, tone: str) -> None:
    syllables[index] = syllables[index][:-1] + tone


def _bu(word: str, syllables: list[str]) -> None:
    if len(word) == 3 and word[1] == "不":
        _set(syllables, 1, "5")
        return
    for index, character in enumerate(word[:-1]):
        if character == "不" and syllables[index + 1][-1] == "4":
            _set(syllables, index, "2")


def _yi(word: str, syllables: list[str]) -> None:
    if "一" not in word or all(character in NUMERALS for character in word if character != "一"):
        return
    if len(word) == 3 and word[1] == "一" and word[0] == word[2]:
        _set(syllables, 1, "5")
    elif word.startswith("第一"):
        _set(syllables, 1, "1")
    else:
        for index, character in enumerate(word[:-1]):
            if character != "一":
                continue
            if syllables[index + 1][-1] == "4":
                _set(syllables, index, "2")
            elif word[index + 1] not in NO_SANDHI_BEFORE:
                _set(syllables, index, "4")


def _neutral(word: str, tag: str, syllables: list[str], halve: Callable[[str], list[str]]) -> None:
    for index in range(1, len(word)):
        if word[index] == word[index - 1] and tag[:1] in ("n", "v", "a") and word not in words("never_neutral_words"):
            _set(syllables, index, "5")
    _neutral_ending(word, tag, syllables)
    start = 0
    for part in halve(word):
        if part in words("must_neutral_words") or part[-2:] in words("must_neutral_words"):
            _set(syllables, start + len(part) - 1, "5")
        start += len(part)


def _neutral_ending(word: str, tag: str, syllables: list[str]) -> None:
    """The first rule that fits decides; only 个 may stand before the end of its word."""
    last, before = word[-1], word[-2:-1]
    counter = word.find("个")
    if (
        last in NEUTRAL_ENDINGS
        or last in "的地得"
        or (word in ("了", "着", "过") and tag in ("ul", "uz", "ug"))
        or (before and last in "们子" and tag in ("r", "n") and word not in words("never_neutral_words"))
        or (before and last in "上下里" and tag in ("s", "l", "f"))
        or (before in DIRECTIONS and last in "来去")
    ):
        _set(syllables, -1, "5")
    elif word == "个" or (counter >= 1 and (word[counter - 1] in NUMERALS or word[counter - 1] in COUNTS)):
        _set(syllables, counter, "5")
    elif word in words("must_neutral_words") or word[-2:] in words("must_neutral_words"):
        _set(syllables, -1, "5")


def _third_tones(word: str, syllables: list[str], halve: Callable[[str], list[str]]) -> None:
    if len(word) == 2:
        _two_thirds(syllables, 0)
    elif len(word) == 3:
        _third_tones_of_three(word, syllables, halve(word))
    elif len(word) == 4:
        _two_thirds(syllables, 0)
        _two_thirds(syllables, 2)


def _two_thirds(syllables: list[str], start: int) -> None:
    if all_third(syllables[start : start + 2]):
        _set(syllables, start, "2")


def _third_tones_of_three(word: str, syllables: list[str], halves: list[str]) -> None:
    cut = len(halves[0])
    if all_third(syllables):
        _set(syllables, 0 if cut == 2 else 1, "2")
        if cut == 2:
            _set(syllables, 1, "2")
    elif len(halves) == 2:
        first, second = syllables[:cut], syllables[cut:]
        if len(first) == 2 and all_third(first):
            _set(syllables, 0, "2")
        elif len(second) == 2 and all_third(second):
            _set(syllables, cut, "2")
        elif first[-1][-1] == "3" and second[0][-1] == "3" and not all_third(second):
            _set(syllables, cut - 1, "2")


def all_third(syllables: Sequence[str]) -> bool:
    return all(syllable[-1] == "3" for syllable in syllables)


def erhua(word: str, tag: str, syllables: list[str]) -> list[str]:
    """A 儿 that colours the syllable before it takes that syllable's tone; it stays a syllable of its own."""
    if word[-1] == "儿" and syllables[-1] == "er1":
        syllables[-1] = "er2"
    if word not in words("erhua_always") and (word in words("erhua_never") or tag in ("a", "j", "nr")):
        return syllables
    if word[-1] == "儿" and syllables[-1] in ("er2", "er5") and len(word) > 1 and word[-2:] not in words("erhua_never"):
        _set(syllables, -1, syllables[-2][-1])
    return syllables
