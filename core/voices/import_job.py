"""The job that imports an uploaded voice: its payload, its files, and the lock under which weights change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from common.operating_system import lock_file
from core.jobs.file_jobs import KIND_FIELD, FileJobKind, FileJobPayload

IMPORT_PREFIX: Final = "import"
"""What the ids of such jobs begin with."""
VOICE_FILES: Final = ("gpt", "sovits", "prompt")
"""The files of a voice that was trained elsewhere."""
ARCHIVE_FILE: Final = "archive"
"""The one file of a voice that was exported."""


class VoiceImportRequest(FileJobPayload):
    """The payload of a job that makes a voice of uploaded files."""

    kind: Literal[FileJobKind.IMPORT_VOICE] = Field(FileJobKind.IMPORT_VOICE, alias=KIND_FIELD)
    files: tuple[str, ...]
    """`VOICE_FILES`, or `ARCHIVE_FILE`; they are stored under `common.storage_keys.import_file`."""
    name: str = ""
    """Of an archive, in place of its own name."""
    text: str = ""
    """Transcript of the prompt; an archive has it."""
    language: str = "auto"
    version: str | None = None
    """Of a SoVITS file that does not name its own."""
    consent_id: str = ""
    """Of the speaker's consent; empty: the one in the archive, if there is one."""


class VoiceImportResult(TypedDict):
    """The result of such a job."""

    voice_id: str
    name: str
    version: str


@contextmanager
def import_lock(data: Path) -> Iterator[None]:
    """Hold the lock of this host under which weights are published or deleted; block until it is free.

    An import that fails deletes the weights that it published: no other process may have begun to use them. The
    operating system releases the lock of a process that dies.
    """
    path = data / "run" / "import.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        lock_file(file)
        yield
