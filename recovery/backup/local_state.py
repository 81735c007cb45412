"""What a site remembers of its backups below `DATA_PATH/backup`: files that were read, chains of changes, results."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
from filelock import FileLock, Timeout
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from common.files import write_atomically
from core.errors import Conflict
from core.settings import Settings
from recovery.backup.manifest import FileEntry

CHAIN_LOCK_SECONDS: Final = 120.0
"""How long a backup waits for the batch of changes under way."""


class Chain(BaseModel):
    """The batches of changes that follow a backup."""

    backup: str
    number: int = 0
    """Of the last batch that was written."""
    previous: str = ""
    """SHA-256 of that batch."""


class Chains(BaseModel):
    """The backup that changes follow, and the one that is being made: until it counts, they follow both."""

    current: Chain | None = None
    next: Chain | None = None

    def active(self) -> list[Chain]:
        """Return the chains that each batch is written to."""
        return [chain for chain in (self.current, self.next) if chain is not None]


class BackupStatus(BaseModel):
    """The last results, for `/metrics` and `standby status`."""

    name: str = ""
    created_at: float = 0.0
    seconds: float = 0.0
    total_bytes: int = 0
    bytes_written: int = 0
    shipped_at: float = 0.0
    """When everything that had changed was last in the target."""
    error: str = ""
    failed_at: float = 0.0
    restored_at: float = 0.0
    """When the records were last replaced by those of a backup: no backup from before is followed by their changes."""


class ReadFile(BaseModel):
    """A file as it was when it was read last."""

    stamp: str
    entry: FileEntry


_READ_FILES: Final = TypeAdapter(dict[str, ReadFile])


class LocalState:
    """The folder of a site's own notes about its backups; losing it costs time only."""

    def __init__(self, data_path: Path) -> None:
        self.folder = data_path / "backup"

    @classmethod
    def of(cls, settings: Settings) -> LocalState:
        """Return the notes of this site."""
        return cls(settings.data_path)

    def read_files(self, target_name: str) -> dict[str, ReadFile]:
        """Return the files that were read for backups to a target, by path."""
        try:
            document = orjson.loads((self.folder / "files.json").read_bytes())
            return _READ_FILES.validate_python(document["files"]) if document["target"] == target_name else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def write_files(self, target_name: str, files: dict[str, ReadFile]) -> None:
        """Remember the files that were read."""
        document = {"target": target_name, "files": _READ_FILES.dump_python(files)}
        self._write("files.json", orjson.dumps(document))

    def chains(self) -> Chains:
        """Return the chains of changes."""
        try:
            return Chains.model_validate_json((self.folder / "chains.json").read_bytes())
        except (OSError, ValidationError):
            return Chains()

    def write_chains(self, chains: Chains) -> None:
        """Remember the chains."""
        self._write("chains.json", chains.model_dump_json().encode())

    def status(self) -> BackupStatus:
        """Return the last results."""
        try:
            return BackupStatus.model_validate_json((self.folder / "status.json").read_bytes())
        except (OSError, ValidationError):
            return BackupStatus()

    def change_status(self, **fields: object) -> None:
        """Write some of the last results."""
        self._write("status.json", self.status().model_copy(update=fields).model_dump_json().encode())

    def forget_chains(self) -> None:
        """Have no more changes follow the backups of before: the records are about to be replaced."""
        self.write_chains(Chains())
        self.change_status(restored_at=time.time())

    @contextlib.contextmanager
    def chain_lock(self, *, wait: bool) -> Iterator[bool]:
        """Hold the lock under which batches are written; yield False when another process has it and `wait` is off."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(self.folder / "chain.lock", timeout=CHAIN_LOCK_SECONDS if wait else 0)
        try:
            lock.acquire()
        except Timeout:
            if wait:
                raise Conflict("Changes are being shipped for too long.", hint="Check BACKUP_URL.") from None
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    @contextlib.contextmanager
    def backup_lock(self) -> Iterator[None]:
        """Hold the lock of the one backup that may run; raise Conflict when there is one already."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(self.folder / "backup.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise Conflict("A backup of this site is running already.", hint="Wait until it has ended.") from None
        try:
            yield
        finally:
            lock.release()

    def _write(self, name: str, content: bytes) -> None:
        write_atomically(self.folder / name, content)


class ManifestLogLine(BaseModel):
    """A line of `manifest.log`."""

    sha256: str
    name: str
    time: str
    version: str
    bytes: int = Field(ge=0)

    def __str__(self) -> str:
        return f"{self.sha256}  {self.name}  {self.time}  {self.version}  {self.bytes}"
