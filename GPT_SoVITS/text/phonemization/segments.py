"""A text with a user's readings in it: cut by language, and read with those readings in their places."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from GPT_SoVITS.text.languages import Language
from GPT_SoVITS.text.markup.notation import Reading
from GPT_SoVITS.text.segmentation import segment
from GPT_SoVITS.text.symbols import MARKS

PAUSES = {"￥": "SP2", "^": "SP3"}
"""Signs that ask for a long pause in Mandarin; ￥ only where no amount of money stands beside it."""
PAUSE_SIGN = re.compile(r"\^|(?<![0-9])￥(?![0-9-])")
SOMEONE = "某"
"""Stands in the text feature for an ideograph that Mandarin's symbols were never taught with: "a certain"."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a piece, with its reading where a user gave one."""

    text: str
    start: int
    """Characters before it in the whole text."""
    units: tuple[str, ...] = ()


class Piece(NamedTuple):
    """Neighbouring parts in one language."""

    language: str
    parts: list[Part]


class Read(NamedTuple):
    norm_text: str
    phones: list[str]
    word2ph: list[int] | None


def divide(text: str, code: str, readings: Sequence[Reading]) -> list[Piece]:
    """The pieces of a text, in order and without a gap; `readings` are in order and do not overlap."""
    pieces: list[Piece] = []
    for language, part in _laid_over(text, code, readings):
        if pieces and pieces[-1].language == language:
            pieces[-1].parts.append(part)
        else:
            pieces.append(Piece(language, [part]))
    return pieces


def _laid_over(text: str, code: str, readings: Sequence[Reading]) -> Iterator[tuple[str, Part]]:
    base = segment(text, code)
    ends = [piece.start + len(piece.text) for piece in base]

    def between(start: int, end: int) -> Iterator[tuple[str, Part]]:
        for index in range(bisect_right(ends, start), len(base)):
            own_start, own_end = max(start, base[index].start), min(end, ends[index])
            if own_start >= own_end:
                break
            yield base[index].language, Part(text[own_start:own_end], own_start)

    done = 0
    for reading in readings:
        yield from between(done, reading.start)
        done = reading.end
        said = text[reading.start : reading.end]
        if reading.units:
            yield reading.language, Part(said, reading.start, reading.units)
        else:
            for piece in segment(said, reading.language):
                yield piece.language, Part(piece.text, reading.start + piece.start)
    yield from between(done, len(text))


def read_parts(speaker: Any, parts: Sequence[Part], version: str) -> Read:
    """The phones of the parts; `speaker` is the `Language` of all of them."""
    read = _READERS.get(speaker.code, _one_by_one)
    return read(speaker, parts, _normalised(speaker, parts), version)


def with_pauses(part: Part) -> Iterator[Part]:
    """The part with each of its pause signs as a part of its own."""
    done = 0
    for match in PAUSE_SIGN.finditer(part.text) if not part.units else ():
        yield Part(part.text[done : match.start()], part.start + done)
        yield Part(match[0], part.start + match.start(), (PAUSES[match[0]],))
        done = match.end()
    yield Part(part.text[done:], part.start + done, part.units)


def _normalised(speaker: Language, parts: Sequence[Part]) -> list[str]:
    """What stands for each part in the normalised text, numbers and titles read with the words beside them."""
    written = []
    for index, part in enumerate(parts):
        if part.units:
            written.append(_stand_in(speaker, part))
            continue
        before = parts[index - 1].text[-20:] if index else ""
        after = parts[index + 1].text[:20] if index + 1 < len(parts) else ""
        written.append(_in_context(speaker.normalise, before, part.text, after))
    return written


def _in_context(normalise: Callable[[str], str], before: str, text: str, after: str) -> str:
    """The normalised text, as it is between two others where they keep their form there."""
    first, last = normalise(before) if before else "", normalise(after) if after else ""
    whole = normalise(before + text + after)
    if whole.startswith(first) and whole.endswith(last) and len(whole) >= len(first) + len(last):
        return whole[len(first) : len(whole) - len(last)]
    return normalise(text)


def _stand_in(speaker: Language, part: Part) -> str:
    if speaker.code == "zh":
        return "".join(
            "," if character in PAUSES else _ideograph(speaker.normalise(character))
            for character, unit in zip(part.text, part.units)
        )
    if speaker.code == "en":
        return re.sub("[^A-Za-z]", "", speaker.normalise(part.text))[:100] or "it"
    return part.text


def _ideograph(normalised: str) -> str:
    return normalised if len(normalised) == 1 and "一" <= normalised <= "龥" else SOMEONE


def _mandarin(speaker: Any, parts: Sequence[Part], written: list[str], version: str) -> Read:
    norm_text, fixed = "", {}
    for part, own in zip(parts, written):
        own = _after_mark(norm_text, own)
        fixed.update({len(norm_text) + index: unit for index, unit in enumerate(part.units[: len(own)])})
        norm_text += own
    return Read(norm_text, *speaker.phonemise(norm_text, version, fixed))


def _english(speaker: Any, parts: Sequence[Part], written: list[str], version: str) -> Read:
    norm_text, fixed = "", {}
    for part, own in zip(parts, written):
        if norm_text[-1:].isalpha() and own[:1].isalpha():
            norm_text += " "
        if part.units:
            fixed[len(norm_text)] = part.units
        norm_text += own
    return Read(norm_text, *speaker.phonemise(norm_text, version, fixed))


def _cantonese(speaker: Any, parts: Sequence[Part], written: list[str], version: str) -> Read:
    norm_text, phones, counts = "".join(written), [], []
    for part, own in zip(parts, written):
        if part.units:
            own_phones, own_counts = speaker.syllables(part.units)
        else:
            own_phones, own_counts = speaker.phonemise(own, version)
        phones += own_phones
        counts += own_counts
    return Read(norm_text, phones, counts)


def _one_by_one(speaker: Any, parts: Sequence[Part], written: list[str], version: str) -> Read:
    phones = [
        phone
        for part, own in zip(parts, written)
        for phone in (part.units or (speaker.phonemise(own, version)[0] if own.strip() else ()))
    ]
    return Read("".join(written), phones, None)


def _after_mark(before: str, text: str) -> str:
    """A second mark in a row is dropped, as everywhere in Mandarin."""
    return text.lstrip(MARKS) if before[-1:] and before[-1] in MARKS else text


_READERS: dict[str, Callable[[Any, Sequence[Part], list[str], str], Read]] = {
    "zh": _mandarin,
    "en": _english,
    "yue": _cantonese,
}
