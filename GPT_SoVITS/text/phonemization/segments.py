"""Cut a text into segments of one language, with a user's pronunciations in their places."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from GPT_SoVITS.text.markup.notation import InlinePronunciation
from GPT_SoVITS.text.segment_parts import SegmentPart
from GPT_SoVITS.text.segmentation import segment_by_language


class AnnotatedSegment(NamedTuple):
    """Neighboring parts of a text in one language."""

    language: str
    parts: list[SegmentPart]

    @property
    def text(self) -> str:
        """The text of all its parts."""
        return "".join(part.text for part in self.parts)


def annotated_segments(text: str, code: str, pronunciations: Sequence[InlinePronunciation]) -> list[AnnotatedSegment]:
    """Return the segments of a text, in order and without a gap.

    `pronunciations` are in order and do not overlap; each is a part of its own, in its own language.
    """
    segments: list[AnnotatedSegment] = []
    for language, part in _parts_by_language(text, code, pronunciations):
        if segments and segments[-1].language == language:
            segments[-1].parts.append(part)
        else:
            segments.append(AnnotatedSegment(language, [part]))
    return segments


def _parts_by_language(
    text: str, code: str, pronunciations: Sequence[InlinePronunciation]
) -> Iterator[tuple[str, SegmentPart]]:
    segments = segment_by_language(text, code)
    ends = [segment.end for segment in segments]

    def plain_parts(start: int, end: int) -> Iterator[tuple[str, SegmentPart]]:
        for index in range(bisect_right(ends, start), len(segments)):
            part_start, part_end = max(start, segments[index].start), min(end, ends[index])
            if part_start >= part_end:
                break
            yield segments[index].language, SegmentPart(text[part_start:part_end], part_start)

    end = 0
    for pronunciation in pronunciations:
        yield from plain_parts(end, pronunciation.start)
        end = pronunciation.end
        stretch = text[pronunciation.start : pronunciation.end]
        if pronunciation.units:
            yield pronunciation.language, SegmentPart(stretch, pronunciation.start, pronunciation.units)
        else:
            for segment in segment_by_language(stretch, pronunciation.language):
                yield segment.language, SegmentPart(segment.text, pronunciation.start + segment.start)
    yield from plain_parts(end, len(text))
