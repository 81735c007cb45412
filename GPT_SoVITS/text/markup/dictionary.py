"""A dictionary of a user's own pronunciations: word → notation, found in a text in one pass."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from GPT_SoVITS.text.markup.notation import Pronunciation, Reading, bad, read_notation

MOST_ENTRIES = 1000
LONGEST_WORD = 100
"""Characters."""


class Pronunciations:
    """Words and how they are said; of two that begin at one place the longer one counts.

    A word in small letters is found in capitals as well, one with a capital only as it is written. A word that begins
    or ends in a Latin letter or a digit is found where no other such character touches it.
    """

    def __init__(self, entries: Mapping[str, str], *, cantonese: bool = False) -> None:
        """Raises ModelError `bad_pronunciation`, with the word, when a notation cannot be read."""
        if len(entries) > MOST_ENTRIES:
            raise bad(f"The dictionary has {len(entries)} words; {MOST_ENTRIES} is the most.")
        self._meanings: dict[str, Pronunciation] = {}
        lengths: dict[str, set[int]] = {}
        for word, notation in entries.items():
            if not word.strip() or len(word) > LONGEST_WORD:
                raise bad(f"The dictionary's word {word[:40]!r} is {'too long' if word.strip() else 'empty'}.")
            self._meanings[word] = read_notation(word, notation, cantonese=cantonese)
            lengths.setdefault(word[0], set()).add(len(word))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}

    def find(self, text: str) -> Iterator[tuple[int, int, Pronunciation]]:
        """(start, end, pronunciation) of every word of the dictionary, in order; none overlaps another."""
        small = "".join(map(_small, text))
        place = 0
        while place < len(text):
            found = self._at(text, small, place)
            if found is None:
                place += 1
                continue
            word, meaning = found
            yield place, place + len(word), meaning
            place += len(word)

    def _at(self, text: str, small: str, place: int) -> tuple[str, Pronunciation] | None:
        for form in (text, small):
            for length in self._lengths.get(form[place], ()):
                word = form[place : place + length]
                meaning = self._meanings.get(word)
                as_written = form is text or word.islower()
                if meaning is not None and as_written and _stands_alone(text, place, place + length):
                    return word, meaning
        return None


@dataclass(frozen=True, slots=True)
class Applied:
    """A text as it is said, and the readings in it."""

    text: str
    readings: list[Reading]
    starts: list[int]
    """Where the stretches of `text` begin,"""
    origins: list[int]
    """and where what they stand for began."""

    def origin(self, place: int) -> int:
        """The place in the text before for one in `text`."""
        index = bisect_right(self.starts, place) - 1
        following = self.origins[index + 1] if index + 1 < len(self.origins) else None
        moved = self.origins[index] + place - self.starts[index]
        return moved if following is None else min(moved, max(following - 1, self.origins[index]))


def apply_dictionary(text: str, readings: Sequence[Reading], dictionary: Pronunciations) -> Applied:
    """Other words put in place, and a reading for every other word of the dictionary; `readings` come first."""
    said = Said()
    done = 0
    for reading in readings:
        said.add_plain(text[done : reading.start], done, dictionary)
        own = text[reading.start : reading.end]
        if reading.units:
            said.add(own, reading.start, reading.language, reading.units)
        else:
            said.add_plain(own, reading.start, dictionary, reading.language)
        done = reading.end
    said.add_plain(text[done:], done, dictionary)
    return Applied("".join(said.text), said.readings, said.starts, said.origins)


class Said:
    """A text under construction."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.readings: list[Reading] = []
        self.starts: list[int] = [0]
        self.origins: list[int] = [0]
        self._length = 0

    def add(self, text: str, origin: int, language: str = "", units: tuple[str, ...] = ()) -> None:
        if not text:
            return
        start, self._length = self._length, self._length + len(text)
        self.text.append(text)
        self.starts.append(start)
        self.origins.append(origin)
        if language:
            self.readings.append(Reading(start, self._length, language, units))

    def add_plain(self, text: str, origin: int, dictionary: Pronunciations, language: str = "") -> None:
        """Text without readings of its own; `language`: the one that it is marked to be in."""
        done = 0
        for start, end, meaning in dictionary.find(text):
            self.add(text[done:start], origin + done, language)
            self.add(meaning.say, origin + start, meaning.language or language, meaning.units)
            done = end
        self.add(text[done:], origin + done, language)


def _small(character: str) -> str:
    """Lower case where that is one character too, so that places stay."""
    lower = character.lower()
    return lower if len(lower) == 1 else character


def _stands_alone(text: str, start: int, end: int) -> bool:
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    return not (_joins(text[start]) and _joins(before)) and not (_joins(text[end - 1]) and _joins(after))


def _joins(character: str) -> bool:
    """Latin letters with their accents and digits; other scripts do not part their words by blanks."""
    return character.isalnum() and character < "\u0250"
