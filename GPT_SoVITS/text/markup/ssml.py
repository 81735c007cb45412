"""A small part of SSML: speak, break, phoneme, sub, say-as, prosody (rate), lang; anything else is refused by name.

The parser is expat with no document type, no entities but XML's own five, nothing external, and a bounded depth.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from xml.parsers import expat

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.languages import resolve
from GPT_SoVITS.text.markup.inline_tags import seconds_of_break
from GPT_SoVITS.text.markup.items import FASTEST, SLOWEST, Chunk, Item, Pause, SayAs, bad_markup
from GPT_SoVITS.text.markup.notation import Pronunciation, is_cantonese, read_notation
from GPT_SoVITS.text.markup.say_as import FORMS, KINDS

DEEPEST = 32
RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.5}
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "speak": ("version", "xml:lang", "xml:base", "xsi:schemaLocation"),
    "break": ("time", "strength"),
    "phoneme": ("alphabet", "ph"),
    "sub": ("alias",),
    "say-as": ("interpret-as", "format"),
    "prosody": ("rate",),
    "lang": ("xml:lang",),
}
NEEDED = {"phoneme": "ph", "sub": "alias", "say-as": "interpret-as", "prosody": "rate", "lang": "xml:lang"}
WHOLE = ("phoneme", "sub", "say-as")
"""What their text is read as concerns all of it, so nothing stands inside them."""


def parse_ssml(text: str, code: str) -> tuple[list[Item], str]:
    """What the document says, in order, and the code of its language.

    `code` is the language that was asked for; where that is `auto`, the document's own counts. Raises ModelError
    `bad_markup`, `bad_pronunciation` and `unsupported_language` with line and column.
    """
    try:
        document = text.strip("\ufeff \t\r\n").encode()
    except UnicodeEncodeError as error:
        raise bad_markup(f"The SSML has half a character at {error.start}.", "Send valid Unicode.") from None
    reader = _Reader(code)
    try:
        reader.parser.Parse(document, True)
    except expat.ExpatError as error:
        raise bad_markup(
            f"The SSML breaks off at line {error.lineno}, column {error.offset + 1}: {expat.ErrorString(error.code)}.",
            "It must be well-formed XML: every element closed, & written as &amp;, < as &lt;.",
        ) from None
    return reader.items, reader.code


@dataclass(frozen=True, slots=True)
class _Frame:
    """An element that is open."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    rate: float = 1.0
    language: str = ""
    where: str = ""


class _Reader:
    """Collects what the parser calls out."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.items: list[Item] = []
        self.open: list[_Frame] = []
        self.words: list[str] = []
        parser: Any = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._placed(self._start)
        parser.EndElementHandler = self._placed(self._end)
        parser.CharacterDataHandler = self.words.append
        parser.StartDoctypeDeclHandler = self._placed(lambda *_: _refuse("A document type"))
        parser.EntityDeclHandler = self._placed(lambda *_: _refuse("An entity declaration"))
        parser.ProcessingInstructionHandler = self._placed(lambda *_: _refuse("A processing instruction"))
        self.parser = parser

    def _placed(self, handler: Callable[..., None]) -> Callable[..., None]:
        """Errors of the handler say where."""

        def called(*arguments: Any) -> None:
            try:
                handler(*arguments)
            except ModelError as error:
                raise _at(self._where(), error) from None

        return called

    def _where(self) -> str:
        return f"At line {self.parser.CurrentLineNumber}, column {self.parser.CurrentColumnNumber + 1}"

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._flush()
        if not self.open and name != "speak":
            raise bad_markup(f"The document begins with <{name[:40]}>.", "SSML begins with <speak>.")
        if self.open and self.open[-1].name in WHOLE:
            raise bad_markup(f"<{name[:40]}> stands inside <{self.open[-1].name}>, which holds text alone.")
        if name not in ATTRIBUTES or (name == "speak" and self.open):
            raise bad_markup(f"The element <{name[:40]}> is not known here.", f"Known: {', '.join(ATTRIBUTES)}.")
        if len(self.open) >= DEEPEST:
            raise bad_markup(f"Elements stand more than {DEEPEST} deep.")
        if self.open and self.open[-1].name == "break":
            raise bad_markup("<break> holds nothing.")
        _check_attributes(name, attributes)
        self.open.append(self._frame(name, attributes))
        if name == "break":
            self.items.append(Pause(seconds_of_break(attributes)))

    def _frame(self, name: str, attributes: dict[str, str]) -> _Frame:
        outer = self.open[-1] if self.open else _Frame("")
        frame = replace(outer, name=name, attributes=attributes, where=self._where())
        if name == "speak" and "xml:lang" in attributes and self.code == "auto":
            self.code = resolve(attributes["xml:lang"])
        if name == "lang":
            return replace(frame, language=resolve(attributes["xml:lang"]))
        if name == "prosody":
            return replace(frame, rate=_rate(attributes["rate"], outer.rate))
        return frame

    def _end(self, name: str) -> None:
        self._flush()
        self.open.pop()

    def _flush(self) -> None:
        """What was written since the last tag, in the manner of the element that is open."""
        words = re.sub(r"\s+", " ", "".join(self.words))
        self.words.clear()
        if not words:
            return
        frame = self.open[-1]
        if frame.name == "break" and words.strip():
            raise bad_markup("<break> holds nothing.")
        self.items.append(self._chunk(words, frame))

    def _chunk(self, words: str, frame: _Frame) -> Chunk:
        chunk = Chunk(words, frame.rate, frame.language)
        if frame.name == "phoneme":
            cantonese = is_cantonese(frame.language or self.code)
            alphabet, notation = frame.attributes.get("alphabet", ""), frame.attributes["ph"]
            try:
                meaning = read_notation(words.strip(), notation, cantonese=cantonese, alphabet=alphabet)
            except ModelError as error:
                raise _at(frame.where, error) from None
            return replace(chunk, reading=meaning)
        if frame.name == "sub":
            return replace(chunk, reading=Pronunciation(frame.attributes["alias"]))
        if frame.name == "say-as":
            kind, form = frame.attributes["interpret-as"], frame.attributes.get("format", "ymd")
            return replace(chunk, say_as=SayAs(KINDS[kind], form, frame.where))
        return chunk


def _check_attributes(name: str, attributes: dict[str, str]) -> None:
    for attribute in attributes:
        if name == "speak" and attribute.partition(":")[0] == "xmlns":
            continue
        if attribute not in ATTRIBUTES[name]:
            known = ", ".join(ATTRIBUTES[name])
            raise bad_markup(f"The attribute {attribute[:40]!r} of <{name}> is not known here.", f"Known: {known}.")
    if name in NEEDED and not attributes.get(NEEDED[name], "").strip():
        raise bad_markup(f"<{name}> needs the attribute {NEEDED[name]}.")
    if name == "say-as":
        if attributes["interpret-as"] not in KINDS:
            raise bad_markup(
                f"<say-as> cannot interpret as {attributes['interpret-as'][:40]!r}.", f"Known: {', '.join(KINDS)}."
            )
        if attributes.get("format", "ymd") not in FORMS:
            raise bad_markup(f"A date has no format {attributes['format'][:40]!r}.", f"Known: {', '.join(FORMS)}.")


def _rate(written: str, outer: float) -> float:
    """`slow`, `120%`, `+20%` or `1.2` times the rate around it."""
    own = RATES.get(written.strip())
    if own is None:
        match = re.fullmatch(r"([+-]?)([0-9]{1,4}(?:\.[0-9]{0,4})?)(%?)", written.strip())
        if match is None:
            raise bad_markup(f"{written[:40]!r} is no rate.", f"Write {', '.join(RATES)}, 120%, +20% or 1.2.")
        own = float(match[2]) / (100 if match[3] else 1)
        if match[1]:
            own = 1 + own if match[1] == "+" else 1 - own
    rate = own * outer
    if not SLOWEST <= rate <= FASTEST:
        raise bad_markup(f"The rate is {rate:g}; it may be {SLOWEST:g} to {FASTEST:g}.")
    return rate


def _at(where: str, error: ModelError) -> ModelError:
    """The error with its place, unless it has one."""
    if error.message.startswith("At line "):
        return error
    return ModelError(error.code, f"{where}: {error.message}", hint=error.hint)


def _refuse(what: str) -> None:
    raise bad_markup(f"{what} is not allowed.", "Send the <speak> element alone.")
