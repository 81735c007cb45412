"""What a report found wrong with a segment, and what follows from it: the words of every report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.records import SegmentRecord

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
"""Check → what it means and how it is found."""

KEPT: Final = frozenset({"background"})
"""What is said of a segment and is no reason to leave it out."""


def flags_of(report: Mapping[str, Any] | None, number: int) -> list[dict[str, Any]]:
    """What the report of a version says of a segment: `[{code, message, …}]`."""
    found: list[dict[str, Any]] = (report or {}).get("flags", {}).get(str(number), [])
    return found


def is_left_out(segment: SegmentRecord, report: Mapping[str, Any] | None) -> bool:
    """Someone's decision first, then the report's."""
    if segment.left_out is not None:
        return segment.left_out
    return any(flag["code"] not in KEPT for flag in flags_of(report, segment.number))


def is_trained_on(segment: SegmentRecord, report: Mapping[str, Any] | None) -> bool:
    """In the training part, and not left out."""
    return segment.subset in ("", "train") and not is_left_out(segment, report)
