"""jieba's dictionary and model of unknown words (MIT), held in a tenth of the memory that jieba takes for them.

jieba keeps all 350 000 words and all their beginnings in one mapping, and its model in nested ones: 150 MB and a second
of start-up. Here the words of one first character are parsed when that character is first met.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

State: TypeAlias = tuple[str, str]
"""Position in the word (B, M, E, S) and part of speech."""

MIN_LOG_PROBABILITY = -3.14e100
"""Of a character that a state was never seen with, as in jieba."""
_LINE = re.compile(r"(\S+) (\d+) (\S+)\n")
_BLOCK_LENGTH = 1 << 20


class JiebaDictionary:
    """Every word with its frequency and its part of speech."""

    def __init__(self, path: Path) -> None:
        """Index a file of lines `word count tag`, those of one first character mostly together."""
        self._text = path.read_text(encoding="utf-8").rstrip("\n") + "\n"
        self._ranges = _ranges_by_first_character(self._text)
        self.total = _sum_of_counts(self._text)
        self.words_starting_with = lru_cache(maxsize=2048)(self._parse)

    def _parse(self, character: str) -> tuple[dict[str, tuple[int, str]], int]:
        """Return (word → (count, tag), length of the longest) of the words that begin with a character."""
        words = {
            match[1]: (int(match[2]), match[3])
            for start, end in self._ranges.get(character, ())
            for match in _LINE.finditer(self._text, start, end)
        }
        return words, max(map(len, words), default=1)

    def get(self, word: str, default: int | None = None) -> int | None:
        """Return the word's count; the name is that of a mapping, since jieba calls it."""
        entry = self.words_starting_with(word[0])[0].get(word)
        return entry[0] if entry else default

    def tag(self, word: str) -> str:
        """Return the word's part of speech, x for an unknown word."""
        entry = self.words_starting_with(word[0])[0].get(word)
        return entry[1] if entry else "x"

    def word_ends(self, text: str, start: int) -> list[int]:
        """Return the last indices of all words that begin at `start`; `start` itself where there is none."""
        words, longest = self.words_starting_with(text[start])
        last = min(len(text), start + longest)
        ends = (end for end in range(start, last) if words.get(text[start : end + 1], (0, ""))[0])
        return list(ends) or [start]


def _ranges_by_first_character(text: str) -> dict[str, list[tuple[int, int]]]:
    characters = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    starts = np.concatenate([[0], np.flatnonzero(characters == ord("\n"))[:-1] + 1])
    changes = np.flatnonzero(np.diff(characters[starts])) + 1
    borders = [0, *starts[changes].tolist(), len(text)]
    ranges: dict[str, list[tuple[int, int]]] = {}
    for start, end in pairwise(borders):
        ranges.setdefault(text[start], []).append((start, end))
    return ranges


def _sum_of_counts(text: str) -> int:
    """Add the counts block by block: together they would be as large as what this file avoids."""
    total = start = 0
    while start < len(text):
        end = text.find("\n", start + _BLOCK_LENGTH) + 1 or len(text)
        total += sum(map(int, re.findall(r" (\d+) ", text[start:end])))
        start = end
    return total


class UnknownWordModel(NamedTuple):
    """The hidden Markov model of unknown words, in natural logarithms. S: states, in ascending order."""

    states: list[State]
    start: NDArray[np.float64]
    """(S,)."""
    transitions: NDArray[np.float64]
    """(S, S), from row to column, -inf where there is none."""
    has_successor: NDArray[np.bool_]
    """(S,)."""
    allowed: Mapping[str, NDArray[np.uint16]]
    """Character → the states that it may be in; all of them where it is not named."""
    emissions: Mapping[str, tuple[NDArray[np.uint16], NDArray[np.float64]]]
    """Character → (states, log probabilities) that it was seen with."""


@cache
def unknown_word_model() -> UnknownWordModel:
    """Return jieba's model, loaded once."""
    start, transitions, emissions, allowed = map(
        _load_table, ("prob_start", "prob_trans", "prob_emit", "char_state_tab")
    )
    states = sorted(transitions)
    index = {state: position for position, state in enumerate(states)}
    matrix = np.full((len(states), len(states)), -np.inf)
    for state, following in transitions.items():
        for other, log_probability in following.items():
            matrix[index[state], index[other]] = log_probability
    return UnknownWordModel(
        states=states,
        start=np.array([start[state] for state in states]),
        transitions=matrix,
        has_successor=np.array([bool(transitions[state]) for state in states]),
        allowed={character: np.array([index[state] for state in own], np.uint16) for character, own in allowed.items()},
        emissions=_emissions_by_character(emissions, index),
    )


def _emissions_by_character(
    emissions: Mapping[State, Mapping[str, float]], index: Mapping[State, int]
) -> dict[str, tuple[NDArray[np.uint16], NDArray[np.float64]]]:
    """Turn state → character → log probability round into slices of two arrays."""
    entries = [
        (ord(character), index[state], value)
        for state, by_character in emissions.items()
        for character, value in by_character.items()
    ]
    characters = np.fromiter((entry[0] for entry in entries), np.uint32, len(entries))
    order = np.argsort(characters, kind="stable")
    states = np.fromiter((entry[1] for entry in entries), np.uint16, len(entries))[order]
    values = np.fromiter((entry[2] for entry in entries), np.float64, len(entries))[order]
    distinct, starts = np.unique(characters[order], return_index=True)
    ends = [*starts[1:].tolist(), len(entries)]
    return {
        chr(character): (states[start:end], values[start:end])
        for character, start, end in zip(distinct.tolist(), starts.tolist(), ends)
    }


@lru_cache(maxsize=2048)
def emission(character: str) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which states the character may be in, (S,), and its log probability in each, (S,)."""
    model = unknown_word_model()
    allowed = np.zeros(len(model.states), dtype=bool)
    allowed[model.allowed.get(character, slice(None))] = True
    log_probabilities = np.full(len(model.states), MIN_LOG_PROBABILITY)
    if character in model.emissions:
        states, values = model.emissions[character]
        log_probabilities[states] = values
    return allowed, log_probabilities


def jieba_folder() -> Path:
    """Return the folder of the installed package."""
    specification = find_spec("jieba")
    assert specification, "the registry looked for it"
    return Path(str(specification.origin)).parent


def _load_table(name: str) -> Any:
    """Execute one of jieba's modules of data without the package, which would keep it, and return its table."""
    specification = spec_from_file_location(f"_jieba_{name}", jieba_folder() / "posseg" / f"{name}.py")
    assert specification, "a file that ends in .py has a loader"
    assert specification.loader
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.P
