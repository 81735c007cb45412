"""Text that arrives in pieces, such as a language model's, and where it can be cut to be spoken.

Whole sentences are spoken as such. Only where the listener would otherwise wait, a sentence is begun before it is
complete: cut behind its last comma, or else behind its last whole word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MIN_WORDS: Final = 3
"""Of a part of a sentence."""
MIN_IDEOGRAPHS: Final = 6
"""The same where words are not separated."""
_CLAUSE_END: Final = re.compile(r"[,;:—](?=\s)|[，、；：]")
_WORD_END: Final = re.compile(r"\s(?=\S*$)|(?<=[぀-ヿ㐀-鿿])(?=[぀-ヿ㐀-鿿]*$)")
_CERTAIN_END: Final = re.compile(r"[。！？!?；\n][\"'”’」』）)\]]{0,3}\s*$")
_OPEN_TAG: Final = re.compile(r"\[(?:/?v?o?i?c?e?|voice:[^\[\]\n]{0,200})$")
_WORD: Final = re.compile(r"[぀-ヿ㐀-鿿]|[^\s぀-ヿ㐀-鿿]+")
_SPACED_WORD: Final = re.compile(rf"\s*(?:{_WORD.pattern})\s*|\s+")


class CutPlace(StrEnum):
    """Where a piece of text ends."""

    SENTENCE = "sentence"
    CLAUSE = "clause"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A part of the text that is spoken as a whole."""

    text: str
    start: int
    """Characters before it."""
    place: CutPlace


class GrowingText:
    """Collects text, and gives it away in pieces, in order and without a gap."""

    def __init__(
        self, sentences: Callable[[str], Iterator[str]], is_document: Callable[[str], bool] = lambda _: False
    ) -> None:
        """`sentences` cuts a text into sentences; a text that `is_document` is given away only when it is complete."""
        self.length = 0
        """Characters that were added."""
        self._sentences = sentences
        self._is_document = is_document
        self._buffer = ""
        self._taken = 0

    def append(self, text: str) -> None:
        """Add text at the end."""
        self._buffer += text
        self.length += len(text)

    def take(self, *, urgent: bool) -> TextPiece | None:
        """Return the sentences that are complete; where there is none and it is `urgent`, a part of one; else None."""
        if self._is_document(self._buffer):
            return None
        *complete, rest = self._sentences(self._buffer)
        if not rest and complete and not _CERTAIN_END.search(complete[-1]):
            complete.pop()  # a point may go on as a number or an ellipsis
        while complete and _OPEN_TAG.search("".join(complete)):
            complete.pop()  # the name of a voice may have a point
        length = sum(map(len, complete))
        if complete and self._buffer[:length].strip():
            return self._cut(length, CutPlace.SENTENCE)
        if urgent:
            for pattern, place in ((_CLAUSE_END, CutPlace.CLAUSE), (_WORD_END, CutPlace.WORD)):
                ends = [match.end() for match in pattern.finditer(self._buffer) if self._may_end_at(match.end())]
                if ends:
                    return self._cut(ends[-1], place)
        return None

    def flush(self) -> TextPiece | None:
        """Return all that is left; None when that is nothing."""
        return self._cut(len(self._buffer), CutPlace.SENTENCE) if self._buffer.strip() else None

    def _may_end_at(self, end: int) -> bool:
        part = self._buffer[:end]
        words = _WORD.findall(part)
        unspaced = sum(len(word) == 1 and word >= "぀" for word in words)
        enough = len(words) - unspaced >= MIN_WORDS or unspaced >= MIN_IDEOGRAPHS
        return enough and not _is_within_tag(part)

    def _cut(self, length: int, place: CutPlace) -> TextPiece:
        piece = TextPiece(self._buffer[:length], self._taken, place)
        self._buffer = self._buffer[length:]
        self._taken += length
        return piece


def text_parts(text: str, sentences: Callable[[str], Iterator[str]], characters: int) -> Iterator[str]:
    """Yield a text in parts of about so many characters; together they are the text.

    They end with sentences, or with words where a sentence is longer, and not within a tag; one that is never closed
    makes no part more than twice as long.
    """
    part = ""
    for sentence in sentences(text):
        for atom in [sentence] if len(sentence) <= characters else _SPACED_WORD.findall(sentence):
            length = len(part) + len(atom)
            if part.strip() and length > characters and (length > 2 * characters or not _is_within_tag(part)):
                yield part
                part = ""
            part += atom
    if part:
        yield part


def _is_within_tag(part: str) -> bool:
    """Return whether a text ends between the brackets of its markup."""
    return part.count("{") != part.count("}") or _OPEN_TAG.search(part) is not None
