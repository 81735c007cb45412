"""A text that is rewritten step by step, and where each of its characters stands in the text that was written.

Every step is a regular expression or a function of one character, so that the places are known and not guessed. Where a
match becomes other words, its groups and what it has in common with them keep their places, and the rest of the words
stands for the rest of the match.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

Replacement: TypeAlias = str | Callable[[re.Match[str]], str]
_WORD = re.compile(r"[A-Za-z]{2,}|[\u3400-\u9fff가-힣]")
_CLUSTER = re.compile("[\u1100-\u11ff]+|.", re.DOTALL)


class Span(NamedTuple):
    """A stretch of the text that was written."""

    start: int
    end: int

    def joined(self, other: Span) -> Span:
        """Return the span from the start of this one to the end of another one."""
        return Span(min(self.start, other.start), max(self.end, other.end))


class TracedText:
    """A text under rewriting. Its methods return the rewritten text and leave this one as it is."""

    __slots__ = ("spans", "text")

    def __init__(self, text: str, spans: Sequence[Span] | None = None) -> None:
        """`spans`: the place of each character; None where nobody asks for it, which costs nothing."""
        self.text = text
        self.spans = spans

    @classmethod
    def written(cls, text: str, start: int = 0) -> TracedText:
        """Return a text as it was written, with so many characters before it."""
        return cls(text, [Span(position, position + 1) for position in range(start, start + len(text))])

    @classmethod
    def join(cls, pieces: Iterable[TracedText]) -> TracedText:
        """Return the pieces as one text; it has places where all of them do."""
        parts = list(pieces)
        text = "".join(part.text for part in parts)
        if any(part.spans is None for part in parts):
            return cls(text)
        return cls(text, [span for part in parts for span in part.spans or ()])

    def __len__(self) -> int:
        return len(self.text)

    def cut(self, start: int, end: int | None = None) -> TracedText:
        """Return a stretch of it as a text of its own."""
        piece = slice(start, end)
        return TracedText(self.text[piece], None if self.spans is None else self.spans[piece])

    def strip(self, characters: str | None = None) -> TracedText:
        """Return it without these characters, or whitespace, at both ends."""
        start = len(self.text) - len(self.text.lstrip(characters))
        return self.cut(start, max(start, len(self.text.rstrip(characters))))

    def split(self, separator: str) -> list[TracedText]:
        """Return the texts between the separators."""
        pieces: list[TracedText] = []
        start = 0
        for piece in self.text.split(separator):
            pieces.append(self.cut(start, start + len(piece)))
            start += len(piece) + len(separator)
        return pieces

    def sub(self, pattern: re.Pattern[str] | str, replacement: Replacement) -> TracedText:
        """Replace every match as `re.sub` does."""
        pattern = re.compile(pattern)
        if self.spans is None:
            return TracedText(pattern.sub(replacement, self.text))
        edits: list[tuple[re.Match[str], str]] = []

        def replace(match: re.Match[str]) -> str:
            words = match.expand(replacement) if isinstance(replacement, str) else replacement(match)
            edits.append((match, words))
            return words

        text = pattern.sub(replace, self.text)
        if not edits:
            return self
        spans: list[Span] = []
        end = 0
        for match, words in edits:
            spans += self.spans[end : match.start()]
            self._extend(spans, match.start(), match.end(), words, _anchors(match, words))
            end = match.end()
        return TracedText(text, [*spans, *self.spans[end:]])

    def map(self, function: Callable[[str], str]) -> TracedText:
        """Replace every character by what a function returns for it, which may be several or none."""
        words = [function(character) for character in self.text]
        text = "".join(words)
        if self.spans is None:
            return TracedText(text)
        return TracedText(text, [span for span, new in zip(self.spans, words, strict=True) for _ in new])

    def compose(self) -> TracedText:
        """Put it into Unicode's form NFC."""
        composed = unicodedata.normalize("NFC", self.text)
        if composed == self.text:
            return self
        if self.spans is None:
            return TracedText(composed)
        pieces: list[list[int]] = []
        for match in _CLUSTER.finditer(self.text):
            if pieces and unicodedata.combining(match[0][0]):
                pieces[-1][1] = match.end()
            else:
                pieces.append([match.start(), match.end()])
        words = [unicodedata.normalize("NFC", self.text[start:end]) for start, end in pieces]
        if "".join(words) != composed:
            pieces, words = [[0, len(self.text)]], [composed]
        spans: list[Span] = []
        for (start, end), word in zip(pieces, words, strict=True):
            self._extend(spans, start, end, word, [])
        return TracedText(composed, spans)

    def span(self, start: int, end: int) -> Span | None:
        """Return where a stretch of it stands in the text that was written; None for a stretch of nothing."""
        if self.spans is None or start >= end:
            return None
        return Span(min(span.start for span in self.spans[start:end]), max(span.end for span in self.spans[start:end]))

    def _extend(self, spans: list[Span], start: int, end: int, words: str, anchors: list[tuple[int, int, int]]) -> None:
        """Append the places of the words that stand for characters `start` to `end`.

        `anchors`: (position in this text, position in the words, length) of what is the same in both, in order.
        """
        assert self.spans is not None
        old, new = start, 0
        for old_start, new_start, length in (*anchors, (end, len(words), 0)):
            if new_start > new:
                self._extend_block(spans, old, old_start, words[new:new_start])
            spans += self.spans[old_start : old_start + length]
            old, new = old_start + length, new_start + length

    def _extend_block(self, spans: list[Span], start: int, end: int, words: str) -> None:
        """Append the places of words for a stretch with which they share no more than some whole words, in order."""
        assert self.spans is not None
        old, new = start, 0
        for match in _WORD.finditer(self.text, start, end):
            position = words.find(match[0], new)
            if position < 0 or words.find(match[0], position + 1) >= 0 or self.text.count(match[0], start, end) > 1:
                continue
            if position > new:
                spans += [self._block(spans, old, match.start())] * (position - new)
            spans += self.spans[match.start() : match.end()]
            old, new = match.end(), position + len(match[0])
        if len(words) > new:
            spans += [self._block(spans, old, end)] * (len(words) - new)

    def _block(self, spans: list[Span], start: int, end: int) -> Span:
        """Return the place of words that stand for a stretch; where that is empty, that of what is beside it."""
        if (block := self.span(start, end)) is not None:
            return block
        if spans:
            return spans[-1]
        if self.spans:
            return self.spans[min(start, len(self.spans) - 1)]
        return Span(0, 0)


def _anchors(match: re.Match[str], words: str) -> list[tuple[int, int, int]]:
    """Return what a match and its words have in common: groups, else a common start and end; in order."""
    anchors: list[tuple[int, int, int]] = []
    old, new = match.start(), 0
    groups = sorted({match.span(number) for number in range(1, match.re.groups + 1)})
    for start, end in groups:
        if start < old or end > match.end() or start == end:  # before the last one, in a lookahead, or not there
            continue
        position = words.find(match.string[start:end], new)
        if position >= 0:
            anchors.append((start, position, end - start))
            old, new = end, position + end - start
    if anchors:
        return anchors
    written = match[0]
    head = 0
    while head < min(len(written), len(words)) and written[head] == words[head]:
        head += 1
    tail = 0
    while tail < min(len(written), len(words)) - head and written[-1 - tail] == words[-1 - tail]:
        tail += 1
    return [
        (match.start(), 0, head),
        (match.end() - tail, len(words) - tail, tail),
    ]
