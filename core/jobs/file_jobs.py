"""The jobs of the role `files`: their kinds, and what the payload of each begins with."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

KIND_FIELD: Final = "work"
"""The field of a stored payload that names the kind of a file job; no other payload has it."""


class FileJobKind(StrEnum):
    """The kinds of jobs that read and write files."""

    ASSEMBLE = "assemble"
    OPEN_BATCH = "open_batch"
    ARCHIVE_BATCH = "archive_batch"
    OPEN_DUBBING = "open_dubbing"
    FIT_DUBBING = "fit_dubbing"
    ASSEMBLE_DUBBING = "assemble_dubbing"
    SEND_RESULTS = "send_results"
    DATASET_VERSION = "dataset"
    DATASET_REPORT = "dataset_report"
    PHONEME_COVERAGE = "phoneme_coverage"
    IMPORT_VOICE = "import_voice"
    CHECK_CONSENT = "check_consent"
    COMPARE_SPEAKER = "compare_speaker"
    PROPOSE_PROMPTS = "propose_prompts"


LONG_RUNNING: Final = frozenset({FileJobKind.DATASET_VERSION, FileJobKind.DATASET_REPORT, FileJobKind.IMPORT_VOICE})
"""Kinds that take minutes; their log is streamed while they run."""


class FileJobPayload(BaseModel):
    """What the payloads of all file jobs have in common; each kind has a subclass."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    kind: FileJobKind = Field(alias=KIND_FIELD)

    def stored(self) -> dict[str, object]:
        """Return the payload as the queue keeps it."""
        return self.model_dump(mode="json", by_alias=True)


def file_job_kind(payload: Mapping[str, object]) -> FileJobKind | None:
    """Return the kind of a file job; None when the payload is another role's, or of a kind that nobody knows."""
    try:
        return FileJobKind(str(payload[KIND_FIELD]))
    except (KeyError, ValueError):
        return None
