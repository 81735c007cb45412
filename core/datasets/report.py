"""The summary of a report that users read: each bad file with the reasons, and what is left out of a training.

The report itself (`DatasetReport`) is stored with its version. The summary is computed when it is read, because users
decide about segments after the report is made.
"""

from __future__ import annotations

from collections import Counter

from typing_extensions import TypedDict

from core.datasets.flags import CHECKS, flags_of, is_left_out
from core.records import (
    DatasetContents,
    DatasetReport,
    DatasetVersionRecord,
    SegmentFlag,
    SegmentRecord,
    SkippedFile,
)


class SegmentSummary(TypedDict):
    """A segment with problems, or one that is left out."""

    segment: int
    name: str
    recording: str
    problems: list[SegmentFlag]
    why: str
    left_out: bool
    decided_by: str
    """`report` or `you`."""


class ReportSummary(TypedDict):
    """A report with the decisions made since."""

    version: int
    made_for: int
    made_at: str | None
    language: str
    listened: bool
    message: str
    segments: int
    seconds: float
    kept_segments: int
    kept_seconds: float
    problems: dict[str, int]
    """Number of segments by code."""
    checks: dict[str, str]
    files: list[SegmentSummary]
    left_out: list[str]
    skipped: list[SkippedFile]


def summarize_report(version: DatasetVersionRecord, contents: DatasetContents) -> ReportSummary:
    """Return the summary of a version's report; without a report, that of its contents and skipped files."""
    report = version.report
    names = {recording.number: recording.name for recording in contents.recordings}
    files = [_summarize_segment(segment, names, report) for segment in contents.segments]
    left_out = [file["name"] for file in files if file["left_out"]]
    kept = [segment for segment in contents.segments if not is_left_out(segment, report)]
    problems = Counter(flag["code"] for file in files for flag in file["problems"])
    sentences = ["Nothing will be left out."]
    if left_out:
        sentences = [f"{len(left_out)} of {len(files)} segments will be left out."]
    if problems:
        counts = ", ".join(f"{code.replace('_', ' ')} {count}" for code, count in problems.most_common())
        sentences.append(f"Found: {counts}.")
    if version.skipped:
        sentences.append(skipped_files_message(len(version.skipped)))
    return {
        "version": version.version,
        "made_for": report.get("version", version.version) if report else version.version,
        "made_at": report.get("made_at") if report else None,
        "language": report.get("language", "") if report else "",
        "listened": report.get("listened", False) if report else False,
        "message": " ".join(sentences),
        "segments": len(files),
        "seconds": round(contents.seconds, 3),
        "kept_segments": len(kept),
        "kept_seconds": round(sum(segment.seconds for segment in kept), 3),
        "problems": dict(sorted(problems.items())),
        "checks": CHECKS,
        "files": [file for file in files if file["problems"] or file["left_out"]],
        "left_out": left_out,
        "skipped": version.skipped,
    }


def skipped_files_message(count: int) -> str:
    """Return the sentence about files that could not be used."""
    return "1 file could not be taken." if count == 1 else f"{count} files could not be taken."


def _summarize_segment(segment: SegmentRecord, names: dict[int, str], report: DatasetReport | None) -> SegmentSummary:
    problems = flags_of(report, segment.number)
    return {
        "segment": segment.number,
        "name": segment.name,
        "recording": names.get(segment.recording, ""),
        "problems": problems,
        "why": " ".join(flag["message"] for flag in problems),
        "left_out": is_left_out(segment, report),
        "decided_by": "report" if segment.left_out is None else "you",
    }
