"""jieba's segmenter and part-of-speech tagger, started safely and with its slowest step done in numpy.

jieba guesses words that its dictionary lacks with a hidden Markov model in plain Python, at two milliseconds a rare
character. `best_path` gives the same path, ties included, ten times as fast; the rest is jieba's own.
"""

from __future__ import annotations

import threading
import warnings
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

State = tuple[str, str]
"""Place in the word (B, M, E, S) and part of speech."""

_lock = threading.Lock()


@cache
def jieba_parts() -> tuple[Any, Any]:
    """The segmenter and the tagger.

    jieba's own start-up leaves its dictionary in a file of a fixed name in the shared temporary folder, and trusts what
    it finds there; so the dictionary is built here, in memory.
    """
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba
        import jieba.posseg

        segmenter = jieba.Tokenizer()
        segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
        segmenter.initialized = True
        tagger = jieba.posseg.POSTokenizer(segmenter)
        tagger._POSTokenizer__cut = _cut_unknown  # the private method that runs the model
        return segmenter, tagger


def _cut_unknown(text: str) -> Any:
    """Words of a run of ideographs that the dictionary does not join."""
    from jieba.posseg import pair

    begin = 0
    path = best_path(text)
    for index, (place, tag) in enumerate(path):
        if place in "BS":
            begin = index
        if place in "ES":
            yield pair(text[begin : index + 1], tag)
    if path and path[-1][0] in "BM":
        yield pair(text[begin:], path[begin][1])


class _Model(NamedTuple):
    states: list[State]
    """In ascending order: of equally good predecessors the last one wins."""
    start: Any  # (S,)
    steps: Any  # (S, S), from row to column, -inf where there is none
    leads: Any  # (S,) whether anything can follow


@cache
def _model() -> _Model:
    from jieba.posseg import start_P as start
    from jieba.posseg import trans_P as steps

    states = sorted(steps)
    place = {state: index for index, state in enumerate(states)}
    matrix = np.full((len(states), len(states)), -np.inf)
    for state, following in steps.items():
        for other, value in following.items():
            matrix[place[state], place[other]] = value
    leads = np.array([bool(steps[state]) for state in states])
    return _Model(states, np.array([start[state] for state in states]), matrix, leads)


@lru_cache(maxsize=8192)
def _emission(character: str) -> tuple[Any, Any]:
    """Which states the character may be in, (S,) of bool, and how likely it is in each, (S,)."""
    from jieba.posseg import char_state_tab_P as allowed
    from jieba.posseg import emit_P as emissions
    from jieba.posseg.viterbi import MIN_FLOAT

    states = _model().states
    may = set(allowed.get(character, states))
    likely = np.array([emissions[state].get(character, MIN_FLOAT) for state in states])
    return np.array([state in may for state in states]), likely


def best_path(text: str) -> list[State]:
    """The most likely state of every character of a text that is not empty."""
    model = _model()
    may, likely = _emission(text[0])
    here = np.flatnonzero(may)
    values = model.start[here] + likely[here]  # (len(here),)
    trace: list[tuple[Any, Any]] = [(here, here)]
    for character in text[1:]:
        leading = model.leads[here]
        before, values = here[leading], values[leading]
        may, likely = _emission(character)
        reachable = np.isfinite(model.steps[before]).any(axis=0)
        here = np.flatnonzero(may & reachable)
        if not len(here):
            here = np.flatnonzero(reachable) if reachable.any() else np.arange(len(model.states))
        scores = (values[:, None] + model.steps[np.ix_(before, here)]) + likely[here]
        best = len(before) - 1 - scores[::-1].argmax(axis=0)
        values = scores[best, np.arange(len(here))]
        trace.append((here, before[best]))
    return [model.states[index] for index in _follow_back(trace, values)]


def _follow_back(trace: list[tuple[Any, Any]], values: Any) -> list[int]:
    here, _ = trace[-1]
    current = int(here[len(here) - 1 - values[::-1].argmax()])
    path = []
    for here, before in reversed(trace):
        path.append(current)
        current = int(before[np.searchsorted(here, current)])
    return path[::-1]
