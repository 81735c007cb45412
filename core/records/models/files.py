"""Uploaded files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TEXT_MEDIA_TYPE: Final = "text/plain"
"""Of a text to be spoken, which is no recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFileRecord:
    """A file whose bytes are in the storage and that has no record yet."""

    id: str
    """From `new_id("file")`."""
    filename: str
    purpose: str
    size_bytes: int
    sha256: str
    media_type: str = "application/octet-stream"
    duration_seconds: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    storage_key: str = ""
    """Empty: `storage_keys.uploaded_file(id)`."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """An uploaded file."""

    id: str
    filename: str
    """As the sender named it; for display only, never a path."""
    purpose: str
    size_bytes: int
    sha256: str
    media_type: str
    duration_seconds: float | None
    """Of audio; None for anything else."""
    sample_rate: int | None
    channels: int | None
    storage_key: str
    uploaded_at: float
    owner: str | None = None
    """Whose it is; None: shared."""
