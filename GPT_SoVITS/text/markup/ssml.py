"""SSML: what `ATTRIBUTES` lists is followed, all else is rejected by name.

The parser is expat with no document type, no entities but XML's own five, nothing external, and a bounded depth.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Concatenate, NoReturn, ParamSpec
from xml.parsers import expat

from common.limits import MAX_SPEED, MIN_SPEED
from common.text_origins import TextOrigin
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.languages import resolve_language
from GPT_SoVITS.text.markup.inline_tags import break_seconds
from GPT_SoVITS.text.markup.items import Mark, MarkupChunk, MarkupItem, Pause, SayAs, bad_markup
from GPT_SoVITS.text.markup.notation import Pronunciation, is_cantonese, read_notation
from GPT_SoVITS.text.markup.prosody import parse_pitch, parse_volume
from GPT_SoVITS.text.markup.say_as import DATE_FORMATS, KINDS
from GPT_SoVITS.text.tracing import Span, TracedText

MAX_DEPTH = 32
RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.5}
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "speak": ("version", "xml:lang", "xml:base", "xsi:schemaLocation"),
    "p": ("xml:lang",),
    "s": ("xml:lang",),
    "break": ("time", "strength"),
    "phoneme": ("alphabet", "ph"),
    "sub": ("alias",),
    "say-as": ("interpret-as", "format"),
    "prosody": ("rate", "pitch", "volume"),
    "lang": ("xml:lang",),
    "voice": ("name", "xml:lang"),
    "mark": ("name",),
}
"""Element → the attributes that it may have."""
REQUIRED = {
    "phoneme": "ph",
    "sub": "alias",
    "say-as": "interpret-as",
    "lang": "xml:lang",
    "voice": "name",
    "mark": "name",
}
"""Element → the attribute that it must have."""
PAUSES = {"p": 0.75, "s": 0.3}
"""Seconds between paragraphs, and between sentences."""
ELSEWHERE = {
    "audio": "Recordings are not played here; synthesize the text and join the files.",
}
"""Element of SSML that is not followed → what to do instead."""
TEXT_ONLY = ("phoneme", "sub", "say-as")
"""Elements that say how all of their text is read, so that no other element may stand inside them."""
EMPTY = ("break", "mark")
"""Elements that hold nothing."""
MAX_NAME_CHARACTERS = 200
"""Of a mark, and of a voice."""

P = ParamSpec("P")


def parse_ssml(text: str, code: str) -> tuple[list[MarkupItem], str]:
    """Return what the document says, in order, and the code of its language.

    `code` is the requested language; where that is `auto`, the document's own counts. Raises ModelError `bad_markup`,
    `bad_pronunciation` and `unsupported_language` with line and column.
    """
    try:
        stripped = text.strip("\ufeff \t\r\n")
        document = stripped.encode()
    except UnicodeEncodeError as error:
        raise bad_markup(f"The SSML has half a character at {error.start}.", "Send valid Unicode.") from None
    parser = _SsmlParser(code, document, len(text) - len(text.lstrip("\ufeff \t\r\n")))
    try:
        parser.expat.Parse(document, True)
    except expat.ExpatError as error:
        raise bad_markup(
            f"The SSML breaks off at line {error.lineno}, column {error.offset + 1}: {expat.ErrorString(error.code)}.",
            "It must be well-formed XML: every element closed, & written as &amp;, < as &lt;.",
        ) from None
    return parser.items, parser.code


@dataclass(frozen=True, slots=True)
class _OpenElement:
    """An element that is not closed yet, with what it inherits from those around it."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    rate: float = 1.0
    pitch: float = 0.0
    gain: float = 1.0
    voice: str = ""
    language: str = ""
    location: str = ""
    start: int = 0
    """Its first character in the request."""


def _with_location(handler: Callable[Concatenate[_SsmlParser, P], None]) -> Callable[Concatenate[_SsmlParser, P], None]:
    """Put line and column before the message of a ModelError of the handler, unless it has them already."""

    def located(self: _SsmlParser, /, *arguments: P.args, **named: P.kwargs) -> None:
        try:
            handler(self, *arguments, **named)
        except ModelError as error:
            if error.message.startswith("At line "):
                raise
            raise ModelError(error.code, f"{self.location}: {error.message}", hint=error.hint) from None

    return located


class _SsmlParser:
    """Collects the items of a document from expat's callbacks."""

    def __init__(self, code: str, document: bytes, start: int) -> None:
        """Read a document before which the request has so many characters."""
        self.code = code
        self.items: list[MarkupItem] = []
        self.open: list[_OpenElement] = []
        self.words: list[tuple[str, int]] = []
        """Pieces of text since the last tag, each with its first character in the request."""
        self.document = document
        self._byte, self._character = 0, start
        self._pause_seconds = 0.0
        """Of the border of a paragraph or sentence behind the last words."""
        self.expat = expat.ParserCreate("utf-8")
        self.expat.StartElementHandler = self.start_element
        self.expat.EndElementHandler = self.end_element
        self.expat.CharacterDataHandler = lambda words: self.words.append((words, self.position()))
        self.expat.StartDoctypeDeclHandler = lambda *_: self.reject("A document type")
        self.expat.EntityDeclHandler = lambda *_: self.reject("An entity declaration")
        self.expat.ProcessingInstructionHandler = lambda *_: self.reject("A processing instruction")

    @property
    def location(self) -> str:
        """Where the parser is, for errors."""
        return f"At line {self.expat.CurrentLineNumber}, column {self.expat.CurrentColumnNumber + 1}"

    def position(self) -> int:
        """Return which character of the request the parser is at; it only goes forward."""
        index = self.expat.CurrentByteIndex
        self._character += len(self.document[self._byte : index].decode(errors="ignore"))
        self._byte = index
        return self._character

    def reject(self, what: str) -> NoReturn:
        """Raise the error for a part of XML that is not allowed."""
        raise bad_markup(f"{self.location}: {what} is not allowed.", "Send the <speak> element alone.")

    @_with_location
    def start_element(self, name: str, attributes: dict[str, str]) -> None:
        """Check an element against those around it, and open it."""
        self._add_words()
        if not self.open and name != "speak":
            raise bad_markup(f"The document begins with <{name[:40]}>.", "SSML begins with <speak>.")
        if self.open and self.open[-1].name in TEXT_ONLY:
            raise bad_markup(f"<{name[:40]}> stands inside <{self.open[-1].name}>, which holds text alone.")
        if name not in ATTRIBUTES or (name == "speak" and self.open):
            advice = ELSEWHERE.get(name, f"Known: {', '.join(ATTRIBUTES)}.")
            raise bad_markup(f"The element <{name[:40]}> is not known here.", advice)
        if len(self.open) >= MAX_DEPTH:
            raise bad_markup(f"Elements stand more than {MAX_DEPTH} deep.")
        if self.open and self.open[-1].name in EMPTY:
            raise bad_markup(f"<{self.open[-1].name}> holds nothing.")
        _check_attributes(name, attributes)
        outer = self.open[-1] if self.open else _OpenElement("")
        element = replace(outer, name=name, attributes=attributes, location=self.location, start=self.position())
        if name == "speak" and "xml:lang" in attributes and self.code == "auto":
            self.code = resolve_language(attributes["xml:lang"])
        elif name in ("lang", "voice", *PAUSES) and "xml:lang" in attributes:
            element = replace(element, language=resolve_language(attributes["xml:lang"]))
        elif name == "prosody":
            element = _with_prosody(element, attributes)
        if name == "voice":
            element = replace(element, voice=attributes["name"].strip())
        self.open.append(element)
        self._pause_seconds = max(self._pause_seconds, PAUSES.get(name, 0.0))
        if name == "break":
            self.items.append(Pause(break_seconds(attributes)))
        elif name == "mark":
            self.items.append(Mark(attributes["name"].strip()))

    @_with_location
    def end_element(self, name: str) -> None:
        """Close the last element."""
        self._add_words()
        self.open.pop()
        self._pause_seconds = max(self._pause_seconds, PAUSES.get(name, 0.0))

    def _add_words(self) -> None:
        """Add the text since the last tag, read as the open element says."""
        if not self.words:
            return
        traced = self._traced_words().sub(r"\s+", " ")
        words = traced.text
        self.words.clear()
        element = self.open[-1]
        if element.name in EMPTY:
            if words.strip():
                raise bad_markup(f"<{element.name}> holds nothing.")
            return
        chunk = MarkupChunk(
            words,
            element.rate,
            element.pitch,
            element.gain,
            element.voice,
            element.language,
            origins=_origins(traced, element),
        )
        if element.name == "phoneme":
            alphabet, notation = element.attributes.get("alphabet", ""), element.attributes["ph"]
            language = element.language or self.code
            try:
                pronunciation = read_notation(
                    words.strip(), notation, cantonese=is_cantonese(language), alphabet=alphabet, language=language
                )
            except ModelError as error:
                raise ModelError(error.code, f"{element.location}: {error.message}", hint=error.hint) from None
            chunk = replace(chunk, pronunciation=pronunciation)
        elif element.name == "sub":
            chunk = replace(chunk, pronunciation=Pronunciation(element.attributes["alias"]))
        elif element.name == "say-as":
            kind, date_format = element.attributes["interpret-as"], element.attributes.get("format", "ymd")
            chunk = replace(chunk, say_as=SayAs(KINDS[kind], date_format, element.location))
        if words.strip():
            if self._pause_seconds and any(isinstance(item, MarkupChunk) and item.text.strip() for item in self.items):
                self.items.append(Pause(self._pause_seconds))
            self._pause_seconds = 0.0
        self.items.append(chunk)

    def _traced_words(self) -> TracedText:
        """Return the text since the last tag with its places: that of an entity is all of its characters."""
        pieces: list[TracedText] = []
        ends = [start for _, start in self.words[1:]] + [self.position()]
        for (words, start), end in zip(self.words, ends, strict=True):
            spans = [Span(start + index, start + index + 1) for index in range(len(words))]
            if len(words) == 1:
                spans = [Span(start, end)]
            pieces.append(TracedText(words, spans))
        return TracedText.join(pieces)


def _origins(traced: TracedText, element: _OpenElement) -> tuple[TextOrigin, ...]:
    """Return where a text stands; the first word of an element of text alone stands where that begins."""
    origins: list[TextOrigin] = []
    for position, (character, span) in enumerate(zip(traced.text, traced.spans or (), strict=True)):
        if span.end - span.start > 1:
            origins.append(TextOrigin(position, span.start, span.end, span.start, character))
        elif origins and not origins[-1].written and origins[-1].source_end == span.start:
            origins[-1] = origins[-1]._replace(source_end=span.end)
        else:
            origins.append(TextOrigin(position, span.start, span.end, span.start))
    if element.name in TEXT_ONLY and origins:
        origins[0] = origins[0]._replace(begin=element.start)
    return tuple(origins)


def _check_attributes(name: str, attributes: dict[str, str]) -> None:
    for attribute in attributes:
        if name == "speak" and attribute.partition(":")[0] == "xmlns":
            continue
        if attribute not in ATTRIBUTES[name]:
            known_attributes = ", ".join(ATTRIBUTES[name])
            raise bad_markup(
                f"The attribute {attribute[:40]!r} of <{name}> is not known here.", f"Known: {known_attributes}."
            )
    if name in REQUIRED and not attributes.get(REQUIRED[name], "").strip():
        raise bad_markup(f"<{name}> needs the attribute {REQUIRED[name]}.")
    if name in ("voice", "mark") and len(attributes["name"]) > MAX_NAME_CHARACTERS:
        raise bad_markup(f"The name of a <{name}> has up to {MAX_NAME_CHARACTERS} characters.")
    if name == "prosody" and not attributes:
        raise bad_markup("<prosody> needs an attribute.", f"It has {', '.join(ATTRIBUTES[name])}.")
    if name == "say-as":
        if attributes["interpret-as"] not in KINDS:
            raise bad_markup(
                f"<say-as> cannot interpret as {attributes['interpret-as'][:40]!r}.", f"Known: {', '.join(KINDS)}."
            )
        if attributes.get("format", "ymd") not in DATE_FORMATS:
            raise bad_markup(
                f"A date has no format {attributes['format'][:40]!r}.", f"Known: {', '.join(DATE_FORMATS)}."
            )


def _with_prosody(element: _OpenElement, attributes: dict[str, str]) -> _OpenElement:
    """Return an element with the rate, pitch and volume that it has, on top of those around it."""
    if "rate" in attributes:
        element = replace(element, rate=_parse_rate(attributes["rate"], element.rate))
    if "pitch" in attributes:
        element = replace(element, pitch=parse_pitch(attributes["pitch"], element.pitch))
    if "volume" in attributes:
        element = replace(element, gain=parse_volume(attributes["volume"], element.gain))
    return element


def _parse_rate(written: str, outer: float) -> float:
    """Return the rate of `slow`, `120%`, `+20%` or `1.2`, times that of the elements around it."""
    rate = RATES.get(written.strip())
    if rate is None:
        match = re.fullmatch(r"([+-]?)([0-9]{1,4}(?:\.[0-9]{0,4})?)(%?)", written.strip())
        if match is None:
            raise bad_markup(f"{written[:40]!r} is no rate.", f"Write {', '.join(RATES)}, 120%, +20% or 1.2.")
        rate = float(match[2]) / (100 if match[3] else 1)
        if match[1]:
            rate = 1 + rate if match[1] == "+" else 1 - rate
    rate *= outer
    if not MIN_SPEED <= rate <= MAX_SPEED:
        raise bad_markup(f"The rate is {rate:g}; it may be {MIN_SPEED:g} to {MAX_SPEED:g}.")
    return rate
