"""The job that imports a voice which was uploaded: its payload, its files, and the lock under which it publishes."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from core.jobs.file_jobs import KIND_FIELD, FileJobKind, FileJobPayload

IMPORT: Final = "import"
"""What the ids of such jobs begin with."""
PARTS: Final = ("gpt", "sovits", "prompt")
"""The files of a voice that was trained elsewhere."""
ARCHIVE: Final = "archive"
"""The one file of a voice that was exported."""


class ImportRequest(FileJobPayload):
    """The payload of a job that makes a voice of uploaded files."""

    kind: Literal[FileJobKind.IMPORT_VOICE] = Field(FileJobKind.IMPORT_VOICE, alias=KIND_FIELD)
    files: tuple[str, ...]
    """`gpt`, `sovits` and `prompt`, or `archive`; they lie in the job's folder."""
    name: str = ""
    """Of an archive, in place of its own name."""
    text: str = ""
    """What the prompt says; not of an archive, which knows."""
    language: str = "auto"
    version: str | None = None
    """Of the SoVITS file, where it does not say itself."""


class ImportedVoice(TypedDict):
    """The result of such a job."""

    voice_id: str
    name: str
    version: str


def folder_of(job_id: str) -> str:
    """Storage key of what was uploaded for a job."""
    return f"imports/{job_id}"


def file_key(job_id: str, part: str) -> str:
    return f"{folder_of(job_id)}/{part}"


@contextmanager
def turn(data: Path) -> Iterator[None]:
    """One process at a time publishes or deletes weights: what one takes back must be nobody else's. Blocks.

    The dead hold no lock.
    """
    lock = data / "run" / "import.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
