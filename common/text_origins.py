"""Where a text that is spoken comes from: which characters of a request each stretch of it stands for.

Without markup an utterance is a part of its request, character by character. A tag may put other words in the place of
what is written, and SSML has entities and whitespace that are read as other characters.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple


class TextOrigin(NamedTuple):
    """Where a stretch of a text comes from; it ends where the next one begins."""

    start: int
    """Its first character in the text that is spoken."""
    source_start: int
    source_end: int
    """Characters of the request."""
    begin: int
    """Where in the request what belongs to it begins: its own start, or that of the tag around it."""
    written: str = ""
    """What stands there, where other characters are spoken in its place; empty for a stretch that is spoken as such."""


def literal(length: int, source_start: int, begin: int | None = None) -> tuple[TextOrigin, ...]:
    """Return the origins of a text that stands in the request as it is."""
    return (TextOrigin(0, source_start, source_start + length, source_start if begin is None else begin),)


def replaced(written: str, source_start: int, source_end: int) -> tuple[TextOrigin, ...]:
    """Return the origins of a text that is spoken in the place of another one."""
    return (TextOrigin(0, source_start, source_end, source_start, written or " "),)


def cut_origins(origins: Sequence[TextOrigin], start: int, end: int) -> tuple[TextOrigin, ...]:
    """Return the origins of a stretch of the text, counted from its start."""
    pieces: list[TextOrigin] = []
    for origin, origin_end in _with_ends(origins, end):
        if origin_end <= start or origin.start >= end:
            continue
        skipped = max(0, start - origin.start)
        if skipped and not origin.written:
            origin = origin._replace(source_start=origin.source_start + skipped, begin=origin.source_start + skipped)
        if not origin.written:
            length = min(origin_end, end) - max(origin.start, start)
            origin = origin._replace(source_end=min(origin.source_end, origin.source_start + length))
        pieces.append(origin._replace(start=max(0, origin.start - start)))
    return tuple(pieces)


def moved(origins: Iterable[TextOrigin], by: int, source_by: int = 0) -> tuple[TextOrigin, ...]:
    """Return the origins of a text that stands so many characters later, in a request that does as well."""
    return tuple(
        origin._replace(
            start=origin.start + by,
            source_start=origin.source_start + source_by,
            source_end=origin.source_end + source_by,
            begin=origin.begin + source_by,
        )
        for origin in origins
    )


def source_position(origins: Sequence[TextOrigin], position: int) -> int:
    """Return where in the request what is spoken from a position of the text on begins."""
    index = bisect_right(origins, position, key=lambda origin: origin.start) - 1
    if index < 0:
        return position
    origin = origins[index]
    if position == origin.start:
        return origin.begin
    return (
        origin.source_end if origin.written else min(origin.source_start + position - origin.start, origin.source_end)
    )


def written_text(origins: Sequence[TextOrigin], text: str, start: int, end: int) -> str:
    """Return a stretch of the text as the request has it, without tags."""
    if not origins:
        return text[start:end]
    pieces = [
        origin.written or text[max(origin.start, start) : min(origin_end, end)]
        for origin, origin_end in _with_ends(origins, len(text))
        if origin_end > start and origin.start < end
    ]
    return "".join(pieces)


def atoms(origins: Sequence[TextOrigin], length: int) -> tuple[tuple[int, int], ...]:
    """Return the stretches, of more than a character, that stand for others as a whole."""
    return tuple(
        (origin.start, end) for origin, end in _with_ends(origins, length) if origin.written and end > origin.start + 1
    )


def _with_ends(origins: Sequence[TextOrigin], end: int) -> Iterator[tuple[TextOrigin, int]]:
    """Yield each origin with the end of its stretch; that of the last one is given."""
    for origin, following in pairwise(origins):
        yield origin, following.start
    if origins:
        yield origins[-1], end
