"""What callers see of data sets, their versions, segments and jobs."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from core.datasets import DatasetJob
from core.datasets.flags import flags_of, is_left_out
from core.datasets.report import SegmentSummary
from core.errors import ErrorData
from core.records import (
    DatasetRecord,
    DatasetVersionRecord,
    SegmentFlag,
    SegmentRecord,
    SkippedFile,
    iso,
)


class DatasetView(TypedDict):
    """A data set, and the version that is looked at."""

    id: str
    name: str
    language: str
    status: str
    version: int
    latest_version: int
    recordings: int
    segments: int
    seconds: float
    message: str
    error: ErrorData | None
    skipped: list[SkippedFile]
    job_id: str
    report_status: str | None
    created_at: str | None
    updated_at: str | None


class DatasetSummary(TypedDict):
    """A data set in a list."""

    id: str
    name: str
    language: str
    status: str
    version: int
    latest_version: int
    created_at: str | None
    updated_at: str | None


class DatasetPage(TypedDict):
    items: list[DatasetSummary]
    total: int
    limit: int
    offset: int


class VersionView(TypedDict):
    """One version of a data set."""

    dataset_id: str
    version: int
    status: str
    made_by: str
    parent: int | None
    request: dict[str, Any]
    message: str
    error: ErrorData | None
    skipped: list[SkippedFile]
    recordings: int
    segments: int
    seconds: float
    job_id: str
    report_status: str | None
    report_job_id: str
    report_error: ErrorData | None
    created_at: str | None
    completed_at: str | None


class VersionPage(TypedDict):
    items: list[VersionView]
    total: int
    limit: int
    offset: int


class SegmentView(TypedDict):
    """A segment with what the report of its version says of it."""

    number: int
    name: str
    recording: int
    start_seconds: float
    duration_seconds: float
    transcript: str
    language: str
    speaker: str
    subset: str
    left_out: bool
    decided_by: str | None
    flags: list[SegmentFlag]
    measures: dict[str, Any]
    made_from: int | None
    change: dict[str, Any]


class SegmentPage(TypedDict):
    items: list[SegmentView]
    total: int
    limit: int
    offset: int


class WorkView(TypedDict):
    """A job on a data set, and the version that it makes or looks at."""

    job_id: str
    dataset_id: str
    version: int
    kind: str
    status: str
    message: str
    error: ErrorData | None


class ReportView(TypedDict):
    """What is wrong with which file, and what will be left out of a training."""

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
    checks: dict[str, str]
    files: list[SegmentSummary]
    left_out: list[str]
    skipped: list[SkippedFile]


def dataset_view(record: DatasetRecord, version: DatasetVersionRecord) -> DatasetView:
    return {
        "id": record.id,
        "name": record.name,
        "language": record.language,
        "status": str(record.status),
        "version": version.version,
        "latest_version": record.latest,
        "recordings": version.recordings,
        "segments": version.segments,
        "seconds": round(version.seconds, 3),
        "message": version.message,
        "error": version.error,
        "skipped": version.skipped,
        "job_id": version.job_id,
        "report_status": version.report_status and str(version.report_status),
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
    }


def dataset_summary(record: DatasetRecord) -> DatasetSummary:
    return {
        "id": record.id,
        "name": record.name,
        "language": record.language,
        "status": str(record.status),
        "version": record.version,
        "latest_version": record.latest,
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
    }


def version_view(version: DatasetVersionRecord) -> VersionView:
    return {
        "dataset_id": version.dataset_id,
        "version": version.version,
        "status": str(version.status),
        "made_by": version.made_by,
        "parent": version.parent,
        "request": {**version.request},
        "message": version.message,
        "error": version.error,
        "skipped": version.skipped,
        "recordings": version.recordings,
        "segments": version.segments,
        "seconds": round(version.seconds, 3),
        "job_id": version.job_id,
        "report_status": version.report_status and str(version.report_status),
        "report_job_id": version.report_job_id,
        "report_error": version.report_error,
        "created_at": iso(version.created_at),
        "completed_at": iso(version.completed_at),
    }


def segment_view(segment: SegmentRecord, version: DatasetVersionRecord) -> SegmentView:
    flags = flags_of(version.report, segment.number)
    left_out = is_left_out(segment, version.report)
    by_report = "report" if left_out else None
    return {
        "number": segment.number,
        "name": segment.name,
        "recording": segment.recording,
        "start_seconds": round(segment.start_seconds, 3),
        "duration_seconds": round(segment.seconds, 3),
        "transcript": segment.transcript,
        "language": segment.language,
        "speaker": segment.speaker,
        "subset": segment.subset or "train",
        "left_out": left_out,
        "decided_by": by_report if segment.left_out is None else "you",
        "flags": flags,
        "measures": segment.measures,
        "made_from": segment.made_from,
        "change": segment.change,
    }


def work_view(work: DatasetJob) -> WorkView:
    return {
        "job_id": work.job_id,
        "dataset_id": work.dataset_id,
        "version": work.version,
        "kind": work.kind,
        "status": str(work.status),
        "message": work.message,
        "error": work.error,
    }
