"""Mandarin cut into words with parts of speech, the same words as jieba's, and faster.

jieba guesses words that its dictionary lacks with a hidden Markov model in plain Python, at two milliseconds a rare
character; `best_path` gives the same path, ties included, ten times as fast. The rest follows jieba 0.42.1 (MIT).
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from GPT_SoVITS.text.mandarin.jieba_data import State, Words, emission, jieba_folder, model

BLOCK = re.compile(r"([\u4e00-\u9fd5a-zA-Z0-9+#&\._]+)")
"""What is cut together; a full stop belongs to it, and so to the tags beside it."""
UNKNOWN_PART = re.compile(r"([\u4e00-\u9fd5]+)|([.0-9]+)|([a-zA-Z0-9]+)|([^\u4e00-\u9fd5.a-zA-Z0-9]+)")

_lock = threading.Lock()


class Token(NamedTuple):
    word: str
    flag: str
    """jieba's part of speech."""


class Tagger:
    """jieba's `posseg` for text of ideographs, marks and little else."""

    def __init__(self, words: Words, segmenter: Any) -> None:
        self._words = words
        self._segmenter = segmenter

    def cut(self, text: str) -> Iterator[Token]:
        for block in BLOCK.split(text):
            if BLOCK.match(block):
                yield from self._cut_block(block)
            else:
                for character in block:
                    yield Token(character, "x")

    def _cut_block(self, block: str) -> Iterator[Token]:
        """Words on the likeliest path; single characters in a row may be an unknown word together."""
        route: dict[int, tuple[float, int]] = {}
        self._segmenter.calc(block, self._segmenter.get_DAG(block), route)
        waiting = ""
        start = 0
        while start < len(block):
            end = route[start][1] + 1
            if end - start == 1:
                waiting += block[start]
            else:
                yield from self._singles(waiting)
                waiting = ""
                yield Token(block[start:end], self._words.tag(block[start:end]))
            start = end
        yield from self._singles(waiting)

    def _singles(self, waiting: str) -> Iterator[Token]:
        if len(waiting) > 1 and not self._words.get(waiting):
            yield from _unknown(waiting)
        else:
            for character in waiting:
                yield Token(character, self._words.tag(character))


@cache
def jieba_parts() -> tuple[Any, Tagger]:
    """The segmenter and the tagger.

    jieba's own start-up leaves its dictionary in a file of a fixed name in the shared temporary folder, and trusts what
    it finds there; so its segmenter is given the words from its own file.
    """
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba

        model()  # its tables are large while they are read, and what they leave free the words take
        words = Words(jieba_folder() / "dict.txt")
        segmenter = jieba.Tokenizer()
        segmenter.FREQ, segmenter.total = words, words.total
        segmenter.get_DAG = lambda text: {start: words.ends(text, start) for start in range(len(text))}
        segmenter.initialized = True
        return segmenter, Tagger(words, segmenter)


def _unknown(text: str) -> Iterator[Token]:
    """Words of characters that the dictionary does not join."""
    for match in UNKNOWN_PART.finditer(text):
        if match[1]:
            yield from _by_model(match[1])
        else:
            yield Token(match[0], "m" if match[2] else "eng" if match[3] else "x")


def _by_model(text: str) -> Iterator[Token]:
    begin = 0
    path = best_path(text)
    for index, (place, tag) in enumerate(path):
        if place in "BS":
            begin = index
        if place in "ES":
            yield Token(text[begin : index + 1], tag)
    if path[-1][0] in "BM":
        yield Token(text[begin:], path[begin][1])


def best_path(text: str) -> list[State]:
    """The most likely state of every character of a text that is not empty; of equally good ones the last wins."""
    known = model()
    may, likely = emission(text[0])
    here = np.flatnonzero(may)
    values = known.start[here] + likely[here]  # (len(here),)
    trace: list[tuple[Any, Any]] = [(here, here)]
    for character in text[1:]:
        leading = known.leads[here]
        before, values = here[leading], values[leading]
        may, likely = emission(character)
        reachable = np.isfinite(known.steps[before]).any(axis=0)
        here = np.flatnonzero(may & reachable)
        if not len(here):
            here = np.flatnonzero(reachable) if reachable.any() else np.arange(len(known.states))
        scores = (values[:, None] + known.steps[np.ix_(before, here)]) + likely[here]
        best = len(before) - 1 - scores[::-1].argmax(axis=0)
        values = scores[best, np.arange(len(here))]
        trace.append((here, before[best]))
    return [known.states[index] for index in _follow_back(trace, values)]


def _follow_back(trace: list[tuple[Any, Any]], values: Any) -> list[int]:
    here, _ = trace[-1]
    current = int(here[len(here) - 1 - values[::-1].argmax()])
    path = []
    for here, before in reversed(trace):
        path.append(current)
        current = int(before[np.searchsorted(here, current)])
    return path[::-1]
