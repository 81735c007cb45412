"""The problems that a report flags in segments, and the segments that they leave out of a training."""

from __future__ import annotations

from typing import Final

from core.records import DatasetReport, SegmentFlag, SegmentRecord

CHECKS: Final[dict[str, str]] = {
    "silent": "Nothing in it is louder than -50 dB of full scale.",
    "clipped": "Its peaks are cut off: several samples in a row stay at the highest level.",
    "too_short": "It is shorter than training takes.",
    "too_long": "It is longer than training takes.",
    "music": "The voice detector (Silero) finds little speech in what sounds: music, noise, or singing.",
    "background": "Between the words it is nearly as loud as in them (by the voice detector): music or noise.",
    "wrong_language": "Speech recognition (Whisper) hears another language.",
    "other_speaker": "Its voice is unlike that of most segments (Resemblyzer's similarity).",
    "wrong_transcript": "Speech recognition (Whisper) hears other words than its transcript says (word error rate).",
    "duplicate": "Its samples are those of another segment.",
    "near_duplicate": "It sounds like another segment: the same recording at another volume, rate or format.",
    "unreadable": "Its sound cannot be read any more.",
}
"""Code of a flag → what it means and how it is detected."""

_KEPT_WITH: Final = frozenset({"background"})
"""Flags that do not leave a segment out."""


def flags_of(report: DatasetReport | None, number: int) -> list[SegmentFlag]:
    """Return the flags of one segment."""
    return report.get("flags", {}).get(str(number), []) if report else []


def is_left_out(segment: SegmentRecord, report: DatasetReport | None) -> bool:
    """Return the user's decision about a segment, or else the report's."""
    if segment.left_out is not None:
        return segment.left_out
    return any(flag["code"] not in _KEPT_WITH for flag in flags_of(report, segment.number))


def is_trained_on(segment: SegmentRecord, report: DatasetReport | None) -> bool:
    """Return whether a segment is in the training subset and not left out."""
    return segment.subset in ("", "train") and not is_left_out(segment, report)
