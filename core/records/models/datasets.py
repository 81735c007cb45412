"""What the records hold of data sets, as frozen values.

A recording or a segment is a row that lives `since` one version `until` another: what a version did not change it
shares with the one before, and old versions stay as they were.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.errors import ErrorData


class DatasetStatus(StrEnum):
    """Where a data set, one version of it, or a report is."""

    PREPARING = "preparing"
    """A job makes it."""
    READY = "ready"
    FAILED = "failed"


# All times are seconds since the epoch; None means not yet.


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """A data set."""

    id: str
    name: str
    language: str
    """What is spoken in it; `auto` when that differs or nobody said."""
    status: DatasetStatus
    """Preparing while any version is being made; failed only when there is none that can be read."""
    version: int
    """The newest version that can be read; 0 before the first."""
    latest: int
    """The newest number that was given out, failed versions included."""
    created_at: float
    updated_at: float


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
    request: dict[str, Any]
    """What its job does; enough to do it again."""
    priority: int
    message: str
    error: ErrorData | None
    skipped: list[dict[str, str]]
    """`{name, reason}` of every file that could not be taken."""
    recordings: int
    segments: int
    seconds: float
    """Of all segments."""
    report_status: DatasetStatus | None
    """None: nobody asked for a report."""
    report_run: int
    report_options: dict[str, Any]
    report: dict[str, Any] | None
    """See `core.datasets.report`."""
    report_error: ErrorData | None
    created_at: float
    completed_at: float | None

    @property
    def job_id(self) -> str:
        """The job that makes it; empty for one that needed none."""
        return "" if self.made_by == "edit" else f"{self.dataset_id}.{self.version}"

    @property
    def report_job_id(self) -> str:
        """The job of its newest report; empty before the first."""
        return f"{self.dataset_id}.{self.version}.report.{self.report_run}" if self.report_run else ""


@dataclass(frozen=True, slots=True)
class RecordingRecord:
    """One decoded recording of a data set: mono, 16 bits, at its own rate."""

    number: int
    name: str
    """As the sender named it; for show and for transcripts, never a path."""
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
    """Empty: speech recognition says it."""
    language: str = ""
    """Empty: that of the data set."""
    speaker: str = ""
    left_out: bool | None = None
    """What someone decided; None leaves it to the report."""
    subset: str = ""
    """`train`, `val`, `test`; empty counts as train."""
    made_from: int | None = None
    """The segment that this one is a changed copy of."""
    change: dict[str, Any] = field(default_factory=dict)
    """How the copy differs: `{kind, …}`."""
    measures: dict[str, Any] = field(default_factory=dict)
    """What the newest report measured: heard, language, speech share …"""


@dataclass(frozen=True, slots=True)
class DatasetContents:
    """All that one version holds, in order."""

    recordings: list[RecordingRecord]
    segments: list[SegmentRecord]

    @property
    def seconds(self) -> float:
        return sum(segment.seconds for segment in self.segments)
