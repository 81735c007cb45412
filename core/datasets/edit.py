"""Corrections: from the newest version of a data set to the next, with a few segments changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from core.datasets.options import SegmentChange
from core.errors import Conflict, InvalidRequest, NotFound
from core.records import DatasetContents, DatasetReport, DatasetVersionRecord

_TRANSCRIPT_FLAGS: Final = ("wrong_transcript", "wrong_language")
"""Flags that no longer hold once a transcript is corrected."""
_FIELDS: Final = ("transcript", "language", "speaker", "left_out", "subset")


def apply_changes(
    parent: DatasetVersionRecord, before: DatasetContents, changes: Sequence[SegmentChange], base: int | None
) -> tuple[DatasetContents, DatasetReport | None]:
    """Return the changed contents and what stays true of the parent's report.

    Raises: Conflict when `base` is not the parent, NotFound for an unknown segment.
    """
    if base is not None and base != parent.version:
        raise Conflict(
            f"Version {base} is not the newest one, {parent.version} is.",
            hint="Look at the newest version and send the change again.",
        )
    segments = {segment.number: segment for segment in before.segments}
    changed: set[int] = set()
    for change in changes:
        if change.number in changed:
            raise InvalidRequest(f"Segment {change.number} is changed twice.", hint="Name each segment once.")
        changed.add(change.number)
        if change.number not in segments:
            raise NotFound(f"Version {parent.version} of {parent.dataset_id} has no segment {change.number}.")
        values: dict[str, Any] = {name: value for name in _FIELDS if (value := getattr(change, name)) is not None}
        if "transcript" in values:
            values["transcript"] = " ".join(values["transcript"].split())
        if change.decide_by_report:
            values["left_out"] = None
        segments[change.number] = replace(segments[change.number], **values)
    for segment in before.segments:
        if segment.made_from in changed and segment.number not in changed:
            # An augmented copy has the transcript of its original, and is left out with it.
            original = segments[segment.made_from]
            segments[segment.number] = replace(segment, **{name: getattr(original, name) for name in _FIELDS})
    after = DatasetContents(before.recordings, list(segments.values()))
    return after, inherit_report(parent.report, before, after)


def inherit_report(
    report: DatasetReport | None, before: DatasetContents, after: DatasetContents
) -> DatasetReport | None:
    """Return what stays true of a report when contents change: no flags of changed audio or transcripts."""
    if report is None:
        return None
    old = {segment.number: segment for segment in before.segments}
    new = {segment.number: segment for segment in after.segments}
    inherited = {}
    for key, flags in report.get("flags", {}).items():
        number = int(key)
        if number not in new or number not in old or new[number].sha256 != old[number].sha256:
            continue
        corrected = (old[number].transcript, old[number].language) != (new[number].transcript, new[number].language)
        if remaining := [flag for flag in flags if not corrected or flag["code"] not in _TRANSCRIPT_FLAGS]:
            inherited[key] = remaining
    return {**report, "flags": inherited}
