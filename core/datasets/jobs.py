"""The jobs that make a version of a data set or the report on one: their payloads and results."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from typing_extensions import TypedDict

from core.jobs.file_jobs import KIND_FIELD, FileJobKind, FileJobPayload


class DatasetVersionPayload(FileJobPayload):
    """Make the version that the records hold as `preparing`."""

    kind: Literal[FileJobKind.DATASET_VERSION] = Field(FileJobKind.DATASET_VERSION, alias=KIND_FIELD)
    dataset_id: str
    version: int


class DatasetReportPayload(FileJobPayload):
    """Examine a version and store the report with it."""

    kind: Literal[FileJobKind.DATASET_REPORT] = Field(FileJobKind.DATASET_REPORT, alias=KIND_FIELD)
    dataset_id: str
    version: int
    run: int
    """Number of the version's report; only the newest one is made."""


class PhonemeCoveragePayload(FileJobPayload):
    """Find the phonemes that the transcripts of a version lack."""

    kind: Literal[FileJobKind.PHONEME_COVERAGE] = Field(FileJobKind.PHONEME_COVERAGE, alias=KIND_FIELD)
    dataset_id: str
    version: int
    language: str


class SentenceToRecord(TypedDict):
    """A sentence, and the missing phonemes that it has."""

    text: str
    phonemes: list[str]


class PhonemeCoverage(TypedDict):
    """The result of such a job."""

    dataset_id: str
    version: int
    language: str
    phonemes: int
    """How many the language has, as far as the sentences for recordings show."""
    missing: list[str]
    sentences: list[SentenceToRecord]
    """Which to record next, the one with the most missing phonemes first."""


class DatasetVersionResult(TypedDict):
    """The result of a job that makes a version."""

    dataset_id: str
    version: int
    segments: int


class DatasetReportResult(TypedDict):
    """The result of a job that makes a report: its summary."""

    dataset_id: str
    version: int
    message: str
    segments: int
    kept_segments: int
    kept_seconds: float
    problems: dict[str, int]
