"""The words of a text as they are written, and which phonemes each of them is spoken with.

The words follow one another without a gap: whitespace, punctuation, emoji and whatever else has no phonemes belongs to
the word before it, or at the start to the first one. Where words are not separated by whitespace, a word is what the
front end reads as one: an ideograph of Chinese, a word of Japanese.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from GPT_SoVITS.text.phonemization.result import PhonemizedText
from GPT_SoVITS.text.segmentation import HAN, KANA
from GPT_SoVITS.text.splitting.fragments import estimate_phonemes
from GPT_SoVITS.text.symbols import PUNCTUATION
from GPT_SoVITS.text.tracing import Span

PAUSE_PHONEMES = frozenset((*PUNCTUATION, "SP", "SP2", "SP3", "_", "空", "停", "UNK"))
"""Phonemes of punctuation, pauses and borders; a word does not begin or end with them."""
_UNSPACED = re.compile(f"[{HAN}{KANA}]")
_BREAKS = "—―…"
"""Punctuation behind which a word begins without whitespace."""


@dataclass(frozen=True, slots=True)
class WrittenWord:
    """A word of a text, with what stands between it and the next one."""

    start: int
    end: int
    """Characters of the text."""
    phonemes: tuple[int, int]
    """The first of its phonemes, and the one behind its last."""


@dataclass(slots=True)
class _Reading:
    """Neighboring phonemes that were read from one stretch of the text."""

    source: Span
    first: int
    end: int


def written_words(text: str, phonemized: PhonemizedText, atoms: Sequence[Span] = ()) -> list[WrittenWord]:
    """Return the words of a text; together they are the text.

    `phonemized` is what the front end returned for it; `atoms`: stretches in which no word begins.
    """
    readings = [
        _Reading(Span(max(0, source.start), min(source.end, len(text))), first, end)
        for source, first, end in _readings(phonemized)
    ]
    borders = sorted({0, *_borders(text, readings), len(text)})
    borders = [border for border in borders if not any(atom.start < border < atom.end for atom in atoms)]
    tiles = [Span(start, end) for start, end in pairwise(borders)]
    words: list[WrittenWord] = []
    start = 0
    for index, first, end in _phonemes_of_tiles(text, tiles, readings):
        if words:
            words[-1] = WrittenWord(words[-1].start, tiles[index].start, words[-1].phonemes)
            start = tiles[index].start
        words.append(WrittenWord(start, len(text), (first, end)))
    return words


def _readings(phonemized: PhonemizedText) -> Iterator[tuple[Span, int, int]]:
    """Yield the stretches of the text that have phonemes, in order, without those of pauses alone."""
    phonemes, sources = phonemized.phonemes, phonemized.sources
    for source, group in groupby(range(len(sources)), lambda index: sources[index]):
        spoken = [index for index in group if phonemes[index] not in PAUSE_PHONEMES]
        if source is not None and spoken:
            yield source, spoken[0], spoken[-1] + 1


def _borders(text: str, readings: Sequence[_Reading]) -> Iterator[int]:
    """Yield where a word may begin: behind whitespace, and where the front end reads on in unspaced writing."""
    for match in re.finditer(r"(?<=\s)(?=\S)", text):
        yield match.start()
    for previous, reading in pairwise(readings):
        start = reading.source.start
        if start <= previous.source.start or start >= len(text) or text[start - 1].isspace():
            continue
        unspaced = _UNSPACED.match(text, start) or _UNSPACED.match(text, previous.source.end - 1)
        if not unspaced and text[start - 1] not in _BREAKS:
            continue
        while start > previous.source.end and unicodedata.category(text[start - 1]) in ("Ps", "Pi"):
            start -= 1  # an opening bracket or quotation mark belongs to what it opens
        yield start


def _phonemes_of_tiles(
    text: str, tiles: Sequence[Span], readings: Sequence[_Reading]
) -> Iterator[tuple[int, int, int]]:
    """Yield (tile, first phoneme, end) of the tiles that have phonemes, in order."""
    tile = 0
    ranges: dict[int, list[int]] = {}
    placed: list[tuple[int, int, _Reading]] = []
    for reading in readings:
        while tile + 1 < len(tiles) and tiles[tile].end <= reading.source.start:
            tile += 1
        last = tile
        while last + 1 < len(tiles) and tiles[last].end < reading.source.end and text[_span(tiles[last + 1])].strip():
            last += 1
        placed.append((tile, last, reading))
    for (first_tile, last_tile), items in groupby(placed, lambda item: item[:2]):
        group = [reading for _, _, reading in items]
        for index, reading in zip(_shares(text, tiles[first_tile : last_tile + 1], group), group, strict=True):
            bounds = ranges.setdefault(first_tile + index, [reading.first, reading.end])
            bounds[1] = reading.end
    for index in sorted(ranges):
        yield index, ranges[index][0], ranges[index][1]


def _span(span: Span) -> slice:
    return slice(span.start, span.end)


def _shares(text: str, tiles: Sequence[Span], readings: Sequence[_Reading]) -> list[int]:
    """Return for each reading which of the tiles it belongs to, by their lengths: a date that is read as a whole."""
    if len(tiles) == 1:
        return [0] * len(readings)
    weights = [max(1, estimate_phonemes(text[_span(tile)])) for tile in tiles]
    spoken = sum(reading.end - reading.first for reading in readings)
    shares: list[int] = []
    tile, before, limit = 0, 0, weights[0] / sum(weights)
    for number, reading in enumerate(readings):
        middle = (before + (reading.end - reading.first) / 2) / spoken
        before += reading.end - reading.first
        while tile + 1 < len(tiles) and (middle > limit or len(readings) - number <= len(tiles) - 1 - tile):
            if middle <= limit and shares and shares[-1] != tile:
                break  # this tile has no reading yet
            tile += 1
            limit += weights[tile] / sum(weights)
        shares.append(tile)
    return shares
