"""Cut Mandarin into words with parts of speech, and join words again where tones act across the cuts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from GPT_SoVITS.text.mandarin.pinyin import pinyin_in_context
from GPT_SoVITS.text.mandarin.tagger import jieba_tagger
from GPT_SoVITS.text.mandarin.tone_sandhi import all_third

IDEOGRAPHS = re.compile(r"[一-龥]+")


class TaggedWord(NamedTuple):
    """A word with its part of speech."""

    text: str
    tag: str
    """jieba's part of speech."""


def tag_words(stretch: str) -> list[TaggedWord]:
    """Return jieba's words of a stretch without punctuation; a character of punctuation is a word with the tag x."""
    return [TaggedWord(token.word, token.tag) for token in jieba_tagger().cut(stretch)]


@lru_cache(maxsize=8192)
def halve(word: str) -> tuple[str, ...]:
    """Return the word in two at jieba's shortest search-mode token; whole where that token is the word."""
    shortest = min(jieba_tagger().segmenter.cut_for_search(word), key=len)
    if word.startswith(shortest):
        return tuple(filter(None, (shortest, word[len(shortest) :])))
    return (word[: -len(shortest)], shortest)


def merge_words(words: list[TaggedWord]) -> list[TaggedWord]:
    """Join words in six passes, in the order on which trained checkpoints depend (docs/spec/text-frontend.md §6.2)."""
    for merge in (
        _merge_bu,
        _merge_yi,
        _merge_repeats,
        lambda words: _merge_third_tones(words, lambda left, right: all_third(left) and all_third(right)),
        lambda words: _merge_third_tones(words, lambda left, right: all_third(left[-1:]) and all_third(right[:1])),
        _merge_er,
    ):
        words = merge(words)
    return words


def _merge_bu(words: list[TaggedWord]) -> list[TaggedWord]:
    """Join 不 to the word after it."""
    merged: list[TaggedWord] = []
    pending = False
    for word in words:
        if pending:
            word = TaggedWord("不" + word.text, word.tag)
        pending = word.text == "不"
        if not pending:
            merged.append(word)
    return [*merged, TaggedWord("不", "d")] if pending else merged


def _merge_yi(words: list[TaggedWord]) -> list[TaggedWord]:
    """Join 一 between two equal verbs to both of them, then 一 to the word after it."""
    doubled: list[TaggedWord] = []
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
            doubled[-1] = TaggedWord(f"{around[0].text}一{around[0].text}", "v")
            index += 2
            continue
        doubled.append(word)
        index += 1
    merged: list[TaggedWord] = []
    for word in doubled:
        if merged and merged[-1].text == "一":
            merged[-1] = TaggedWord("一" + word.text, merged[-1].tag)
        else:
            merged.append(word)
    return merged


def _merge_repeats(words: list[TaggedWord]) -> list[TaggedWord]:
    """Join a word to an equal one before it."""
    merged: list[TaggedWord] = []
    for word in words:
        if merged and merged[-1].text == word.text:
            merged[-1] = TaggedWord(merged[-1].text + word.text, merged[-1].tag)
        else:
            merged.append(word)
    return merged


def _merge_third_tones(
    words: list[TaggedWord], meet: Callable[[Sequence[str], Sequence[str]], bool]
) -> list[TaggedWord]:
    """Join neighbors whose third tones meet, to at most three characters; a pair just joined takes no third word.

    `meet` says of the syllables of two words whether their third tones do.
    """
    merged: list[TaggedWord] = []
    just_joined = False
    for index, word in enumerate(words):
        left = words[index - 1]
        if (
            index
            and not just_joined
            and len(left.text) + len(word.text) <= 3
            and not (len(left.text) == 2 and left.text[0] == left.text[1])
            and IDEOGRAPHS.fullmatch(left.text + word.text)
            and meet(pinyin_in_context(left.text), pinyin_in_context(word.text))
        ):
            merged[-1] = TaggedWord(merged[-1].text + word.text, merged[-1].tag)
            just_joined = True
        else:
            merged.append(word)
            just_joined = False
    return merged


def _merge_er(words: list[TaggedWord]) -> list[TaggedWord]:
    """Join 儿 to the word before it."""
    merged: list[TaggedWord] = []
    for word in words:
        if merged and word.text == "儿" and IDEOGRAPHS.fullmatch(merged[-1].text):
            merged[-1] = TaggedWord(merged[-1].text + "儿", merged[-1].tag)
        else:
            merged.append(word)
    return merged
