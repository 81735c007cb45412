"""What is asked of the preprocessor when a voice comes over HTTP."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

IMPORT: Final = "import"
"""What the ids of such jobs begin with."""
PARTS: Final = ("gpt", "sovits", "prompt")
"""The files of a voice that was trained elsewhere."""
ARCHIVE: Final = "archive"
"""The one file of a voice that was exported."""


class ImportRequest(BaseModel):
    """Make a voice of files that were uploaded: the payload of a preprocessor's job."""

    model_config = ConfigDict(frozen=True)

    work: Literal["import_voice"] = "import_voice"
    files: tuple[str, ...]
    """`gpt`, `sovits` and `prompt`, or `archive`; they lie in the job's folder."""
    name: str = ""
    """Of an archive, in place of its own name."""
    text: str = ""
    """What the prompt says; not of an archive, which knows."""
    language: str = "auto"
    version: str | None = None
    """Of the SoVITS file, where it does not say itself."""


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
