"""Response bodies of data sets, their versions, segments, reports and jobs."""

from __future__ import annotations

from typing_extensions import TypedDict

from api.http.localization import localized, localized_error
from api.http.schemas import JsonObjectView
from api.routes.files import skipped_views
from core.datasets import DatasetJob
from core.datasets.flags import flags_of, is_left_out
from core.datasets.report import summarize_report
from core.records import DatasetContents, DatasetRecord, DatasetVersionRecord, SegmentFlag, SegmentRecord, iso


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


class DatasetView(DatasetSummary):
    """A data set with one of its versions."""

    recordings: int
    segments: int
    seconds: float
    message: str
    error: JsonObjectView | None
    skipped: list[dict[str, str]]
    job_id: str
    report_status: str | None


class DatasetVersionView(TypedDict):
    """One version of a data set."""

    dataset_id: str
    version: int
    status: str
    made_by: str
    parent: int | None
    request: JsonObjectView
    message: str
    error: JsonObjectView | None
    skipped: list[dict[str, str]]
    recordings: int
    segments: int
    seconds: float
    job_id: str
    report_status: str | None
    report_job_id: str
    report_error: JsonObjectView | None
    created_at: str | None
    completed_at: str | None


class DatasetSegmentView(TypedDict):
    """A segment, with what the report of its version says about it."""

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
    flags: list[JsonObjectView]
    measures: JsonObjectView
    made_from: int | None
    change: JsonObjectView


class DatasetJobView(TypedDict):
    """A job on a data set, and the version that it creates or examines."""

    job_id: str
    dataset_id: str
    version: int
    kind: str
    status: str
    message: str
    error: JsonObjectView | None


class DatasetReportView(TypedDict):
    """The problems of each file, and the files that a training leaves out."""

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
    files: list[JsonObjectView]
    left_out: list[str]
    skipped: list[dict[str, str]]


def dataset_summary(record: DatasetRecord) -> DatasetSummary:
    """Return a data set as lists show it."""
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


def dataset_view(record: DatasetRecord, version: DatasetVersionRecord) -> DatasetView:
    """Return a data set with one of its versions."""
    return {
        **dataset_summary(record),
        "version": version.version,
        "recordings": version.recordings,
        "segments": version.segments,
        "seconds": round(version.seconds, 3),
        "message": localized(version.message, version.error),
        "error": localized_error(version.error),
        "skipped": skipped_views(version.skipped),
        "job_id": version.job_id,
        "report_status": version.report_status and str(version.report_status),
    }


def version_view(version: DatasetVersionRecord) -> DatasetVersionView:
    """Return a version as the API shows it."""
    return {
        "dataset_id": version.dataset_id,
        "version": version.version,
        "status": str(version.status),
        "made_by": version.made_by,
        "parent": version.parent,
        "request": {name: value for name, value in version.request.items() if name not in ("urls", "labels")},
        "message": localized(version.message, version.error),
        "error": localized_error(version.error),
        "skipped": skipped_views(version.skipped),
        "recordings": version.recordings,
        "segments": version.segments,
        "seconds": round(version.seconds, 3),
        "job_id": version.job_id,
        "report_status": version.report_status and str(version.report_status),
        "report_job_id": version.report_job_id,
        "report_error": localized_error(version.report_error),
        "created_at": iso(version.created_at),
        "completed_at": iso(version.completed_at),
    }


def segment_view(segment: SegmentRecord, version: DatasetVersionRecord) -> DatasetSegmentView:
    """Return a segment with the verdict of its version's report."""
    left_out = is_left_out(segment, version.report)
    decided_by = "you" if segment.left_out is not None else "report" if left_out else None
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
        "decided_by": decided_by,
        "flags": [localized_flag(flag) for flag in flags_of(version.report, segment.number)],
        "measures": segment.measures,
        "made_from": segment.made_from,
        "change": segment.change,
    }


def report_view(version: DatasetVersionRecord, contents: DatasetContents) -> DatasetReportView:
    """Return the report of a version as the API shows it."""
    summary = summarize_report(version, contents)
    files: list[JsonObjectView] = [
        {
            **file,
            "problems": [localized_flag(flag) for flag in file["problems"]],
            "why": " ".join(localized(flag["message"]) for flag in file["problems"]),
        }
        for file in summary["files"]
    ]
    return {
        **summary,
        "message": localized(summary["message"]),
        "checks": {code: localized(meaning) for code, meaning in summary["checks"].items()},
        "files": files,
        "skipped": skipped_views(summary["skipped"]),
    }


def localized_flag(flag: SegmentFlag) -> JsonObjectView:
    """Return a problem of a segment in the caller's language."""
    return {**flag, "message": localized(flag["message"])}


def job_view(job: DatasetJob) -> DatasetJobView:
    """Return a job on a data set as the API shows it."""
    return {
        "job_id": job.job_id,
        "dataset_id": job.dataset_id,
        "version": job.version,
        "kind": job.kind,
        "status": str(job.status),
        "message": localized(job.message, job.error),
        "error": localized_error(job.error),
    }
