"""What a backup consists of, as its signed manifest says."""

from __future__ import annotations

import re
from typing import Final, Literal

import orjson
from pydantic import BaseModel, Field, TypeAdapter, field_validator

STORAGE: Final = "storage"
MODELS: Final = "models"
PROMPTS: Final = "prompts"
FOLDERS: Final = (STORAGE, MODELS, PROMPTS)
"""Where the files of a backup lie: artifacts, official weights and the prompt catalog, as below the data folder."""
_PATH_PART: Final = re.compile(r"[^/\\\x00-\x1f]{1,255}")
Sha256 = Field(pattern="^[0-9a-f]{64}$")


class ObjectRef(BaseModel):
    """An object of the target."""

    sha256: str = Sha256
    size: int = Field(ge=0)


class FileEntry(BaseModel):
    """A file, which consists of objects in order."""

    path: str = Field(max_length=2000)
    """Below the data folder: `storage/…`, `models/…` or `prompts/…`."""
    size: int = Field(ge=0)
    sha256: str = Sha256
    parts: list[ObjectRef]

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        folder, *parts = path.split("/")
        if folder not in FOLDERS or not parts or {".", ".."} & set(parts):
            raise ValueError("a file lies below storage/, models/ or prompts/")
        if not all(_PATH_PART.fullmatch(part) for part in parts):
            raise ValueError("a path has no empty parts and no control characters")
        return path


FILE_LIST: Final = TypeAdapter(list[FileEntry])


class TableEntry(BaseModel):
    """The rows of a table, as JSON lines in gzip."""

    rows: int = Field(ge=0)
    objects: list[ObjectRef]


class Environment(BaseModel):
    """What a backup was made with."""

    code: str
    """As `git describe --tags`, else the package's version."""
    schema_revision: str
    python: str
    packages: dict[str, str]
    cuda: str
    driver: str
    hardware: str
    """Of the processor: the same audio can be expected on the same only."""


class Release(BaseModel):
    """A published voice by the hashes of all that speaks."""

    id: str
    voice_id: str
    name: str
    parts: dict[str, str]
    """Part → its hash: which one differs can be named."""


class SpokenSentence(BaseModel):
    """How a voice spoke the sentence of a manifest."""

    voice_id: str
    release_id: str
    seed: int
    text: str
    language: str
    seconds: float
    sha256: str
    loudness: list[float]
    """Level in dB of each tenth of a second, for a comparison on other hardware."""


class QueueNote(BaseModel):
    """What was not backed up: jobs by role or state."""

    counts: dict[str, int] = Field(default_factory=dict)


class BackupManifest(BaseModel):
    """A backup."""

    format: Literal[1] = 1
    name: str
    site: str
    """Host that made it."""
    epoch: int = 0
    """Of the site when it made it; 0 without fencing."""
    created_at: float
    environment: Environment
    tables: dict[str, TableEntry]
    files: ObjectRef
    """The list of files, as JSON in gzip."""
    file_count: int
    total_bytes: int
    """Of all files and records."""
    settings: dict[str, str]
    """Those that were set, without secrets."""
    secret_settings: list[str]
    """Names of settings that were set and are secret: a standby needs its own."""
    keys: dict[str, str]
    """Name of a key → its fingerprint."""
    releases: list[Release]
    spoken: list[SpokenSentence]
    missing: list[str] = Field(default_factory=list)
    """Files that records name and that were gone already."""
    not_included: QueueNote = QueueNote()


class ChangedRow(BaseModel):
    """The new state of a row; None when it was deleted."""

    table: str
    key: list[str | int]
    row: dict[str, object] | None


class ChangeBatch(BaseModel):
    """What changed in the records between two moments, and the files that came with it."""

    backup: str
    """Name of the backup that it follows."""
    number: int = Field(ge=1)
    previous: str
    """SHA-256 of the batch before it, as it lies in the target; of the first one, of the manifest."""
    created_at: float
    schema_revision: str
    rows: list[ChangedRow]
    files: list[FileEntry]


def row_key(row: dict[str, object], columns: list[str]) -> str:
    """Return a row's primary key as the text that stands for it in the change table."""
    return orjson.dumps([row[column] for column in columns]).decode()
