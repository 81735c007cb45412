"""A text of one language, not cut by script: what the front end does for one segment."""

from __future__ import annotations

from GPT_SoVITS.text import PhonemizedSegment, TextFrontend
from GPT_SoVITS.text.phonemization.segments import AnnotatedSegment
from GPT_SoVITS.text.segment_parts import SegmentPart


def phonemize_segment(
    text: str, language: str, version: str = "v2", frontend: TextFrontend | None = None
) -> PhonemizedSegment:
    segment = AnnotatedSegment(language, [SegmentPart(text, 0)])
    return (frontend or TextFrontend()).phonemize_segment(segment, version)
