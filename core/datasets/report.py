"""A report as people read it: each bad file and why, and what will be left out of a training.

What a job finds out is kept as `{version, made_at, language, options, listened, flags: {segment: [{code, message}]}}`
with the version. What follows from it is worked out here, because people decide about segments afterwards.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from core.datasets.verdict import CHECKS, flags_of, is_left_out
from core.records import DatasetContents, DatasetVersionRecord, SegmentRecord


def describe(version: DatasetVersionRecord, contents: DatasetContents) -> dict[str, Any]:
    """`{version, made_for, language, message, problems, files, left_out, skipped …}` of a version with a report."""
    report = version.report or {}
    names = {recording.number: recording.name for recording in contents.recordings}
    files = [_file(segment, names, report) for segment in contents.segments]
    left_out = [one for one in files if one["left_out"]]
    kept = [segment for segment in contents.segments if not is_left_out(segment, report)]
    problems = Counter(flag["code"] for one in files for flag in one["problems"])
    return {
        "version": version.version,
        "made_for": report.get("version", version.version),
        "made_at": report.get("made_at"),
        "language": report.get("language", ""),
        "listened": bool(report.get("listened", False)),
        "message": _message(len(files), len(left_out), len(version.skipped), problems),
        "segments": len(files),
        "seconds": round(contents.seconds, 3),
        "kept_segments": len(kept),
        "kept_seconds": round(sum(segment.seconds for segment in kept), 3),
        "problems": dict(sorted(problems.items())),
        "checks": CHECKS,
        "files": [one for one in files if one["problems"] or one["left_out"]],
        "left_out": [one["name"] for one in left_out],
        "skipped": version.skipped,
    }


def _file(segment: SegmentRecord, names: dict[int, str], report: dict[str, Any]) -> dict[str, Any]:
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


def _message(segments: int, left_out: int, skipped: int, problems: Counter[str]) -> str:
    sentences = [f"{left_out} of {segments} segments will be left out." if left_out else "Nothing will be left out."]
    if problems:
        found = ", ".join(f"{code.replace('_', ' ')} {count}" for code, count in problems.most_common())
        sentences.append(f"Found: {found}.")
    if skipped:
        sentences.append(not_taken(skipped))
    return " ".join(sentences)


def not_taken(count: int) -> str:
    return "1 file could not be taken." if count == 1 else f"{count} files could not be taken."
