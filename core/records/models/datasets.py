"""Data sets, their versions, and the recordings and segments that a version holds.

A recording or a segment is one row for all versions from `since` to before `until`: a version shares with the one
before what it did not change, and old versions stay as they were.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NotRequired

from typing_extensions import TypedDict

from common.json_types import JsonObject
from core.errors import ErrorData


class DatasetStatus(StrEnum):
    """The status of a data set, of one version of it, or of a report."""

    PREPARING = "preparing"
    """A job is making it."""
    READY = "ready"
    FAILED = "failed"


class RecordingSource(TypedDict):
    """An upload that a version imports."""

    file_id: str
    transcript: str
    language: str
    speaker: str


class DatasetLabels(TypedDict, total=False):
    """What the client of the model service sent with its request, to be shown again."""

    task_id: str
    """The id that it chose."""
    description: str | None
    warnings: list[str]


class DatasetVersionRequest(TypedDict, total=False):
    """What the job of a version does; enough to do it again."""

    sources: list[RecordingSource]
    urls: list[str]
    """Recordings and ZIPs that the job downloads; they may hold a secret."""
    labels: DatasetLabels
    options: JsonObject
    """Of a split, an augmentation or a crop: `core.datasets.options`."""


class SkippedFile(TypedDict):
    """A file that could not be used."""

    name: str
    reason: str


class SegmentFlag(TypedDict):
    """A problem of a segment."""

    code: str
    """A key of `core.datasets.flags.CHECKS`."""
    message: str
    value: NotRequired[float]
    """The measurement that the check compared."""
    other: NotRequired[int]
    """Number of the other segment, where there is one."""


class DatasetReport(TypedDict):
    """What a report found; decisions about segments come on top of it."""

    version: int
    """The version that was examined; a later one may inherit its report."""
    made_at: NotRequired[str | None]
    language: str
    options: JsonObject
    listened: bool
    """Speech recognition was used."""
    flags: dict[str, list[SegmentFlag]]
    """By segment number."""


class DatasetChanges(TypedDict, total=False):
    """New values of the fields of a data set that users change."""

    name: str
    language: str


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """A data set."""

    id: str
    name: str
    language: str
    """The language spoken in it; `auto` when that differs or is not known."""
    status: DatasetStatus
    """Preparing while any version is being made; failed only when no version is ready."""
    version: int
    """The newest version that is ready; 0 before the first."""
    latest: int
    """The highest version number, failed versions included."""
    created_at: float
    updated_at: float
    owner: str | None = None
    """Whose it is; None: shared."""


def dataset_version_job_id(dataset_id: str, version: int) -> str:
    """Return the id of the job that makes a version of a data set."""
    return f"{dataset_id}.{version}"


@dataclass(frozen=True, slots=True)
class DatasetVersionRecord:
    """One version of a data set."""

    dataset_id: str
    version: int
    status: DatasetStatus
    made_by: str
    """`import`, `add`, `edit`, `split`, `augment` or `crop`."""
    parent: int | None
    """The version it was made from."""
    request: DatasetVersionRequest
    priority: int
    message: str
    error: ErrorData | None
    skipped: list[SkippedFile]
    recordings: int
    segments: int
    seconds: float
    """Of all segments."""
    report_status: DatasetStatus | None
    """None: no report was requested."""
    report_run: int
    report_options: JsonObject
    report: DatasetReport | None
    report_error: ErrorData | None
    created_at: float
    completed_at: float | None

    @property
    def job_id(self) -> str:
        """The job that makes it; empty for one that needed none."""
        return "" if self.made_by == "edit" else dataset_version_job_id(self.dataset_id, self.version)

    @property
    def report_job_id(self) -> str:
        """The job of its newest report; empty before the first."""
        return f"{self.dataset_id}.{self.version}.report.{self.report_run}" if self.report_run else ""


@dataclass(frozen=True, slots=True)
class RecordingRecord:
    """One decoded recording of a data set: mono, 16 bits, at its own rate."""

    number: int
    name: str
    """As the sender named it; for display and for matching transcripts, never a path."""
    file_id: str | None
    """The upload it came from."""
    sha256: str
    """Of its samples."""
    seconds: float
    sample_rate: int
    storage_key: str


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A piece of a recording (all of it, when it is short) that one transcript belongs to."""

    number: int
    recording: int
    """Number of the recording it lies in."""
    name: str
    start_seconds: float
    """Where it begins in the recording."""
    seconds: float
    storage_key: str
    sha256: str
    """Of its samples."""
    transcript: str = ""
    """Empty: speech recognition supplies it."""
    language: str = ""
    """Empty: that of the data set."""
    speaker: str = ""
    left_out: bool | None = None
    """The user's decision; None leaves it to the report."""
    subset: str = ""
    """`train`, `val`, `test`; empty counts as train."""
    made_from: int | None = None
    """The segment that this one is a changed copy of."""
    change: JsonObject = field(default_factory=dict)
    """How the copy differs: `{kind, …}`."""
    measures: JsonObject = field(default_factory=dict)
    """Measurements of the newest report: recognized text, language, share of speech …"""


@dataclass(frozen=True, slots=True)
class DatasetContents:
    """The recordings and segments of one version, in order."""

    recordings: list[RecordingRecord]
    segments: list[SegmentRecord]

    @property
    def seconds(self) -> float:
        """The duration of all segments."""
        return sum(segment.seconds for segment in self.segments)
