"""jieba's dictionary and model of unknown words (MIT), held in a tenth of the memory that jieba takes for them.

jieba keeps all 350 000 words and all their beginnings in one mapping, and its model in nested ones: 150 MB and a second
of start-up. Here the words of one first character are taken from the file when that character is first met.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

State = tuple[str, str]
"""Place in the word (B, M, E, S) and part of speech."""

UNLIKELY = -3.14e100
"""Logarithm for a character that a state was never seen with, as in jieba."""
_LINE = re.compile(r"(\S+) (\d+) (\S+)\n")
_BLOCK = 1 << 20


class Words:
    """Every word with how often it was counted and its part of speech."""

    def __init__(self, path: Path) -> None:
        """`path`: lines of `word count tag`, those of one first character mostly together."""
        self._text = path.read_text(encoding="utf-8").rstrip("\n") + "\n"
        self._places = _places_by_first_character(self._text)
        self.total = _sum_of_counts(self._text)
        self.starting_with = lru_cache(maxsize=2048)(self._parse)

    def _parse(self, character: str) -> tuple[dict[str, tuple[int, str]], int]:
        """(word → (count, tag), length of the longest) of the words that begin with a character."""
        found = {
            match[1]: (int(match[2]), match[3])
            for start, end in self._places.get(character, ())
            for match in _LINE.finditer(self._text, start, end)
        }
        return found, max(map(len, found), default=1)

    def get(self, word: str, default: int | None = None) -> int | None:
        """How often the word was counted; the name is that of a mapping, since jieba asks one."""
        entry = self.starting_with(word[0])[0].get(word)
        return entry[0] if entry else default

    def tag(self, word: str) -> str:
        entry = self.starting_with(word[0])[0].get(word)
        return entry[1] if entry else "x"

    def ends(self, text: str, start: int) -> list[int]:
        """The last characters of all words that begin at `start`; the character itself where there is none."""
        words, longest = self.starting_with(text[start])
        last = min(len(text), start + longest)
        known = (end for end in range(start, last) if words.get(text[start : end + 1], (0, ""))[0])
        return list(known) or [start]


def _places_by_first_character(text: str) -> dict[str, list[tuple[int, int]]]:
    characters = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    starts = np.concatenate([[0], np.flatnonzero(characters == ord("\n"))[:-1] + 1])
    changes = np.flatnonzero(np.diff(characters[starts])) + 1
    borders = [0, *starts[changes].tolist(), len(text)]
    places: dict[str, list[tuple[int, int]]] = {}
    for start, end in pairwise(borders):
        places.setdefault(text[start], []).append((start, end))
    return places


def _sum_of_counts(text: str) -> int:
    """A block at a time: together they would be as large as what this file avoids."""
    total = start = 0
    while start < len(text):
        end = text.find("\n", start + _BLOCK) + 1 or len(text)
        total += sum(map(int, re.findall(r" (\d+) ", text[start:end])))
        start = end
    return total


class Model(NamedTuple):
    """The hidden Markov model of unknown words. S: states, in ascending order."""

    states: list[State]
    start: Any  # (S,)
    steps: Any  # (S, S), from row to column, -inf where there is none
    leads: Any  # (S,) whether anything can follow
    allowed: dict[str, Any]
    """Character → the states that it may be in; all of them where it is not named."""
    seen: dict[str, tuple[Any, Any]]
    """Character → (states, logarithms) that it was seen with."""


@cache
def model() -> Model:
    start, steps, emissions, allowed = map(_table, ("prob_start", "prob_trans", "prob_emit", "char_state_tab"))
    states = sorted(steps)
    place = {state: index for index, state in enumerate(states)}
    matrix = np.full((len(states), len(states)), -np.inf)
    for state, following in steps.items():
        for other, likelihood in following.items():
            matrix[place[state], place[other]] = likelihood
    return Model(
        states=states,
        start=np.array([start[state] for state in states]),
        steps=matrix,
        leads=np.array([bool(steps[state]) for state in states]),
        allowed={one: np.array([place[state] for state in several], np.uint16) for one, several in allowed.items()},
        seen=_by_character(emissions, place),
    )


def _by_character(emissions: dict[State, dict[str, float]], place: dict[State, int]) -> dict[str, tuple[Any, Any]]:
    """State → character → logarithm, turned round into slices of two arrays."""
    of = [(ord(one), place[state], value) for state, seen in emissions.items() for one, value in seen.items()]
    characters = np.fromiter((entry[0] for entry in of), np.uint32, len(of))
    order = np.argsort(characters, kind="stable")
    states = np.fromiter((entry[1] for entry in of), np.uint16, len(of))[order]
    values = np.fromiter((entry[2] for entry in of), np.float64, len(of))[order]
    distinct, starts = np.unique(characters[order], return_index=True)
    ends = [*starts[1:].tolist(), len(of)]
    return {
        chr(one): (states[start:end], values[start:end])
        for one, start, end in zip(distinct.tolist(), starts.tolist(), ends)
    }


@lru_cache(maxsize=2048)
def emission(character: str) -> tuple[Any, Any]:
    """Which states the character may be in, (S,) of bool, and how likely it is in each, (S,)."""
    known = model()
    may = np.zeros(len(known.states), dtype=bool)
    may[known.allowed.get(character, slice(None))] = True
    likely = np.full(len(known.states), UNLIKELY)
    states, values = known.seen.get(character, ([], []))
    likely[states] = values
    return may, likely


def jieba_folder() -> Path:
    specification = find_spec("jieba")
    assert specification, "the registry looked for it"
    return Path(str(specification.origin)).parent


def _table(name: str) -> Any:
    """One of jieba's modules of data, executed without the package that would keep it."""
    specification = spec_from_file_location(f"_jieba_{name}", jieba_folder() / "posseg" / f"{name}.py")
    assert specification, "a file that ends in .py has a loader"
    assert specification.loader
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.P
