"""The items of a text with markup: passages and pauses for callers, chunks between a parser and `read_markup`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from common.text_origins import TextOrigin
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.markup.notation import InlinePronunciation, Pronunciation


class MarkPlace(NamedTuple):
    """A place in a text whose time is wanted."""

    name: str
    position: int
    """Characters before it; more than the text has: behind the silence that follows."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Words to speak in one voice and manner."""

    text: str
    language: str
    """A language code."""
    pronunciations: tuple[InlinePronunciation, ...] = ()
    """In order; none overlaps another."""
    rate: float = 1.0
    """Times the requested speed; above 1 is faster."""
    pitch: float = 0.0
    """Semitones above the voice's own."""
    gain: float = 1.0
    """Times the voice's own amplitude."""
    voice: str = ""
    """Name of a voice; empty for that of the request."""
    marks: tuple[MarkPlace, ...] = ()
    """In order."""
    origins: tuple[TextOrigin, ...] = field(default=(), compare=False)
    """Where in the text with its markup the words stand."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence."""

    seconds: float


class SayAs(NamedTuple):
    """How digits and letters are to be read."""

    kind: str
    """One of the values of `say_as.KINDS`."""
    date_format: str
    """The order of a date: ymd, mdy or dmy."""
    location: str
    """Where in the document it stands, for errors."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place whose time is wanted."""

    name: str


@dataclass(frozen=True, slots=True)
class MarkupChunk:
    """A stretch of a text as a parser yields it."""

    text: str
    rate: float = 1.0
    pitch: float = 0.0
    gain: float = 1.0
    voice: str = ""
    """These four as those of `Passage`."""
    language: str = ""
    """The code that an element around it names; "" for that of the whole text."""
    pronunciation: Pronunciation | None = None
    """Written in the text itself, so that the user's dictionary does not touch it."""
    say_as: SayAs | None = None
    origins: tuple[TextOrigin, ...] = ()
    """Where in the text with its markup it stands."""

    @property
    def manner(self) -> tuple[float, float, float, str]:
        """What is the same in a passage."""
        return self.rate, self.pitch, self.gain, self.voice


MarkupItem: TypeAlias = MarkupChunk | Pause | Mark


def bad_markup(message: str, hint: str = "") -> ModelError:
    """Return the error for markup that cannot be read."""
    return ModelError("bad_markup", message, hint=hint or "docs/text.md shows what can be written.")
