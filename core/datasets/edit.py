"""Mending: from the newest version of a data set to the next, with a few segments changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from core.datasets.options import SegmentChange
from core.errors import Conflict, InvalidRequest, NotFound
from core.records import DatasetContents, DatasetVersionRecord, SegmentRecord

ABOUT_WORDS: Final = ("wrong_transcript", "wrong_language")
"""What a report said of a transcript; a mended one has not been looked at."""
_FIELDS: Final = ("transcript", "language", "speaker", "left_out", "subset")


def apply_changes(
    parent: DatasetVersionRecord, before: DatasetContents, changes: Sequence[SegmentChange], base: int | None
) -> tuple[DatasetContents, dict[str, Any] | None]:
    """The contents with the changes, and what stays true of the parent's report."""
    if base is not None and base != parent.version:
        raise Conflict(
            f"Version {base} is not the newest one, {parent.version} is.",
            hint="Look at the newest version and send the change again.",
        )
    segments = {segment.number: segment for segment in before.segments}
    seen: set[int] = set()
    for change in changes:
        if change.number in seen:
            raise InvalidRequest(f"Segment {change.number} is changed twice.", hint="Name each segment once.")
        seen.add(change.number)
        if change.number not in segments:
            raise NotFound(f"Version {parent.version} of {parent.dataset_id} has no segment {change.number}.")
        segments[change.number] = _changed(segments[change.number], change)
    for segment in before.segments:
        if segment.made_from in seen and segment.number not in seen:
            segments[segment.number] = _follow(segment, segments[segment.made_from])
    after = DatasetContents(before.recordings, list(segments.values()))
    return after, inherited(parent.report, before, after)


def inherited(
    report: Mapping[str, Any] | None, before: DatasetContents, after: DatasetContents
) -> dict[str, Any] | None:
    """What stays true of a report when the contents change: nothing of sounds and transcripts that are others now."""
    if report is None:
        return None
    old = {segment.number: segment for segment in before.segments}
    new = {segment.number: segment for segment in after.segments}
    flags = {}
    for key, found in report.get("flags", {}).items():
        number = int(key)
        if number not in new or number not in old or new[number].sha256 != old[number].sha256:
            continue
        mended = (old[number].transcript, old[number].language) != (new[number].transcript, new[number].language)
        left = [flag for flag in found if not mended or flag["code"] not in ABOUT_WORDS]
        if left:
            flags[key] = left
    return {**report, "flags": flags}


def _changed(segment: SegmentRecord, change: SegmentChange) -> SegmentRecord:
    given: dict[str, Any] = {name: value for name in _FIELDS if (value := getattr(change, name)) is not None}
    if "transcript" in given:
        given["transcript"] = " ".join(given["transcript"].split())
    if change.decide_by_report:
        given["left_out"] = None
    return replace(segment, **given)


def _follow(copy: SegmentRecord, original: SegmentRecord) -> SegmentRecord:
    """A changed copy says what its original says, and is left out with it."""
    return replace(copy, **{name: getattr(original, name) for name in _FIELDS})
