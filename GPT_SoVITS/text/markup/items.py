"""The items of a text with markup: passages and pauses for callers, chunks between a parser and `read_markup`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.markup.notation import Pronunciation, Reading

SLOWEST, FASTEST = 0.25, 4.0


@dataclass(frozen=True, slots=True)
class Passage:
    """Words to speak at one rate."""

    text: str
    language: str
    """A language code."""
    readings: tuple[Reading, ...] = ()
    """In order; none overlaps another."""
    rate: float = 1.0
    """Times the speed that was asked for; above 1 is faster."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence."""

    seconds: float


class SayAs(NamedTuple):
    """How figures and letters are to be read."""

    kind: str
    form: str
    """Of a date: ymd, mdy or dmy."""
    where: str
    """For errors."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of a text as a parser found it."""

    text: str
    rate: float = 1.0
    language: str = ""
    """The code that a mark around it names; "" for that of the whole text."""
    reading: Pronunciation | None = None
    """Given on the spot; the dictionary does not touch it then."""
    say_as: SayAs | None = None


Item = Chunk | Pause


def bad_markup(message: str, hint: str = "") -> ModelError:
    return ModelError("bad_markup", message, hint=hint or "docs/text.md shows what can be written.")
