"""Mandarin sentences cut into words with parts of speech, and joined again where tones act across the cuts."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from GPT_SoVITS.text.mandarin.pinyin import in_context
from GPT_SoVITS.text.mandarin.tagger import jieba_parts
from GPT_SoVITS.text.mandarin.tone_sandhi import all_third

IDEOGRAPHS = re.compile(r"[一-龥]+")


class Word(NamedTuple):
    text: str
    tag: str
    """jieba's part of speech."""


def cut(segment: str) -> list[Word]:
    """jieba's words of one stretch without marks; a mark that is there is a word with the tag x."""
    _, tagger = jieba_parts()
    return [Word(pair.word, pair.flag) for pair in tagger.cut(segment)]


@lru_cache(maxsize=8192)
def _halves(word: str) -> tuple[str, ...]:
    segmenter, _ = jieba_parts()
    shortest = min(segmenter.cut_for_search(word), key=len)
    if word.startswith(shortest):
        return tuple(filter(None, (shortest, word[len(shortest) :])))
    return (word[: -len(shortest)], shortest)


def halve(word: str) -> list[str]:
    """The word in two at jieba's shortest search-mode token; whole where that token is the word."""
    return list(_halves(word))


def merge(words: list[Word]) -> list[Word]:
    """Six passes, in the order on which trained checkpoints depend."""
    for join in (_merge_bu, _merge_yi, _merge_repeats, _merge_third_words, _merge_third_borders, _merge_er):
        words = join(words)
    return words


def _merge_bu(words: list[Word]) -> list[Word]:
    merged: list[Word] = []
    waiting = False
    for word in words:
        if waiting:
            word = Word("不" + word.text, word.tag)
        waiting = word.text == "不"
        if not waiting:
            merged.append(word)
    return [*merged, Word("不", "d")] if waiting else merged


def _merge_yi(words: list[Word]) -> list[Word]:
    doubled: list[Word] = []
    index = 0
    while index < len(words):
        word = words[index]
        around = words[index - 1 : index + 2] if index else []
        if (
            word.text == "一"
            and len(around) == 3
            and around[0].text == around[2].text
            and around[0].tag == around[2].tag == "v"
        ):
            doubled[-1] = Word(f"{around[0].text}一{around[0].text}", "v")
            index += 2
            continue
        doubled.append(word)
        index += 1
    merged: list[Word] = []
    for word in doubled:
        if merged and merged[-1].text == "一":
            merged[-1] = Word("一" + word.text, merged[-1].tag)
        else:
            merged.append(word)
    return merged


def _merge_repeats(words: list[Word]) -> list[Word]:
    merged: list[Word] = []
    for word in words:
        if merged and merged[-1].text == word.text:
            merged[-1] = Word(merged[-1].text + word.text, merged[-1].tag)
        else:
            merged.append(word)
    return merged


def _merge_third_words(words: list[Word]) -> list[Word]:
    return _merge_thirds(words, lambda left, right: all_third(left) and all_third(right))


def _merge_third_borders(words: list[Word]) -> list[Word]:
    return _merge_thirds(words, lambda left, right: all_third(left[-1:]) and all_third(right[:1]))


def _merge_thirds(words: list[Word], touch: Any) -> list[Word]:
    """Join neighbours whose third tones meet, to at most three characters; a fresh join takes no third word."""
    merged: list[Word] = []
    fresh = False
    for index, word in enumerate(words):
        left = words[index - 1]
        if (
            index
            and not fresh
            and len(left.text) + len(word.text) <= 3
            and not (len(left.text) == 2 and left.text[0] == left.text[1])
            and IDEOGRAPHS.fullmatch(left.text + word.text)
            and touch(in_context(left.text), in_context(word.text))
        ):
            merged[-1] = Word(merged[-1].text + word.text, merged[-1].tag)
            fresh = True
        else:
            merged.append(word)
            fresh = False
    return merged


def _merge_er(words: list[Word]) -> list[Word]:
    merged: list[Word] = []
    for word in words:
        if merged and word.text == "儿" and IDEOGRAPHS.fullmatch(merged[-1].text):
            merged[-1] = Word(merged[-1].text + "儿", merged[-1].tag)
        else:
            merged.append(word)
    return merged
