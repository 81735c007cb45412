"""Cut Mandarin into words with parts of speech, the same words as jieba's, and faster.

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
from numpy.typing import NDArray

from GPT_SoVITS.text.mandarin.jieba_data import JiebaDictionary, State, emission, jieba_folder, unknown_word_model

BLOCK = re.compile(r"([\u4e00-\u9fd5a-zA-Z0-9+#&\._]+)")
"""What is cut together; a full stop belongs to it, and so to the tags beside it."""
UNKNOWN_BLOCK = re.compile(
    r"(?P<ideographs>[\u4e00-\u9fd5]+)|(?P<number>[.0-9]+)|(?P<latin>[a-zA-Z0-9]+)|([^\u4e00-\u9fd5.a-zA-Z0-9]+)"
)
TAGS_OF_BLOCKS = {"number": "m", "latin": "eng"}

_lock = threading.Lock()


class Token(NamedTuple):
    """A word with jieba's part of speech."""

    word: str
    tag: str


class JiebaTagger:
    """jieba's `posseg` for text of ideographs, punctuation and little else."""

    def __init__(self, dictionary: JiebaDictionary, segmenter: Any) -> None:
        """Use a `jieba.Tokenizer` that asks `dictionary`."""
        self.segmenter = segmenter
        self._dictionary = dictionary

    def cut(self, text: str) -> Iterator[Token]:
        """Yield the words of a text, which together are the text."""
        for block in BLOCK.split(text):
            if BLOCK.match(block):
                yield from self._cut_block(block)
            else:
                for character in block:
                    yield Token(character, "x")

    def _cut_block(self, block: str) -> Iterator[Token]:
        """Yield the words on the likeliest path; single characters in a row may be an unknown word together."""
        route: dict[int, tuple[float, int]] = {}
        self.segmenter.calc(block, self.segmenter.get_DAG(block), route)
        singles = ""
        start = 0
        while start < len(block):
            end = route[start][1] + 1
            if end - start == 1:
                singles += block[start]
            else:
                yield from self._tag_singles(singles)
                singles = ""
                yield Token(block[start:end], self._dictionary.tag(block[start:end]))
            start = end
        yield from self._tag_singles(singles)

    def _tag_singles(self, singles: str) -> Iterator[Token]:
        if len(singles) > 1 and not self._dictionary.get(singles):
            yield from _cut_unknown(singles)
        else:
            for character in singles:
                yield Token(character, self._dictionary.tag(character))


@cache
def jieba_tagger() -> JiebaTagger:
    """Return the tagger, created once.

    jieba's own start-up leaves its dictionary in a file of a fixed name in the shared temporary folder, and trusts what
    it finds there; so its segmenter is given the words from its own file.
    """
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba

        unknown_word_model()  # its tables are large while they are read, and what they leave free the words take
        dictionary = JiebaDictionary(jieba_folder() / "dict.txt")
        segmenter = jieba.Tokenizer()
        segmenter.FREQ, segmenter.total = dictionary, dictionary.total
        segmenter.get_DAG = lambda text: {start: dictionary.word_ends(text, start) for start in range(len(text))}
        segmenter.initialized = True
        return JiebaTagger(dictionary, segmenter)


def _cut_unknown(text: str) -> Iterator[Token]:
    """Yield words of characters that the dictionary does not join."""
    for match in UNKNOWN_BLOCK.finditer(text):
        if not match["ideographs"]:
            yield Token(match[0], TAGS_OF_BLOCKS.get(match.lastgroup or "", "x"))
            continue
        path = best_path(match[0])
        begin = 0
        for index, (position, tag) in enumerate(path):
            if position in "BS":
                begin = index
            if position in "ES":
                yield Token(match[0][begin : index + 1], tag)
        if path[-1][0] in "BM":
            yield Token(match[0][begin:], path[begin][1])


def best_path(text: str) -> list[State]:
    """Return the most likely state of every character of a text that is not empty; of equally good ones the last wins.

    This is the Viterbi algorithm over the states that each character may be in.
    """
    model = unknown_word_model()
    allowed, log_probabilities = emission(text[0])
    states = np.flatnonzero(allowed)
    values = model.start[states] + log_probabilities[states]  # (len(states),)
    trace: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = [(states, states)]
    for character in text[1:]:
        has_successor = model.has_successor[states]
        before, values = states[has_successor], values[has_successor]
        allowed, log_probabilities = emission(character)
        reachable = np.isfinite(model.transitions[before]).any(axis=0)
        states = np.flatnonzero(allowed & reachable)
        if not len(states):
            states = np.flatnonzero(reachable) if reachable.any() else np.arange(len(model.states))
        scores = (values[:, None] + model.transitions[np.ix_(before, states)]) + log_probabilities[states]
        best = len(before) - 1 - scores[::-1].argmax(axis=0)
        values = scores[best, np.arange(len(states))]
        trace.append((states, before[best]))
    current = int(states[len(states) - 1 - values[::-1].argmax()])
    path = []
    for states, before in reversed(trace):
        path.append(model.states[current])
        current = int(before[np.searchsorted(states, current)])
    return path[::-1]
