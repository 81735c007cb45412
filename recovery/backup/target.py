"""Where backups lie: a folder, here or mounted, or a bucket (`bucket_target.py`)."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from common.files import sync
from core.errors import InvalidRequest, StorageUnavailable

_KEY_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_TEMPORARY: Final = ".tmp"


@dataclass(frozen=True, slots=True)
class TargetEntry:
    """An object of a target."""

    key: str
    size: int
    modified: float
    """Seconds since the epoch."""


class BackupTarget(Protocol):
    """A place for backups; every method raises StorageUnavailable when it cannot be used."""

    name: str
    """Without secrets."""

    def read(self, key: str) -> bytes:
        """Return the bytes of an object; raise FileNotFoundError when there is none."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Write an object, completely or not at all, in place of an older one."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one, and return whether that was so; of several writers, one succeeds."""
        ...

    def upload(self, path: Path, key: str) -> None:
        """Write a file of any size as an object."""
        ...

    def list(self, prefix: str) -> Iterator[TargetEntry]:
        """Yield the objects under `prefix/`, in no order."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; missing ones are ignored."""
        ...


class FolderTarget:
    """Backups in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.name = str(self.root)

    def read(self, key: str) -> bytes:
        """Return the bytes of an object; raise FileNotFoundError when there is none."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._unavailable(key, error) from error

    def write(self, key: str, data: bytes) -> None:
        """Write an object, completely or not at all, in place of an older one."""
        try:
            path, temporary = self._written(key, data)
            os.replace(temporary, path)
            sync(path.parent)
        except OSError as error:
            raise self._unavailable(key, error) from error

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one, and return whether that was so; of several writers, one succeeds."""
        try:
            path, temporary = self._written(key, data)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                temporary.unlink()
            sync(path.parent)
        except OSError as error:
            raise self._unavailable(key, error) from error
        return True

    def upload(self, path: Path, key: str) -> None:
        """Write a file of any size as an object."""
        try:
            place, temporary = self._written(key, b"")
            shutil.copyfile(path, temporary)
            sync(temporary)
            os.replace(temporary, place)
        except OSError as error:
            raise self._unavailable(key, error) from error

    def list(self, prefix: str) -> Iterator[TargetEntry]:
        """Yield the objects under `prefix/`, in no order."""
        for folder, _, names in os.walk(self._path(prefix)):
            for name in names:
                path = Path(folder, name)
                with suppress(FileNotFoundError):  # deleted meanwhile
                    stat = path.stat()
                    yield TargetEntry(path.relative_to(self.root).as_posix(), stat.st_size, stat.st_mtime)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; missing ones are ignored."""
        for key in keys:
            try:
                self._path(key).unlink(missing_ok=True)
            except OSError as error:
                raise self._unavailable(key, error) from error

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not all(_KEY_PART.fullmatch(part) for part in parts):
            raise InvalidRequest(f"{key!r} is no key of a backup.")
        return self.root.joinpath(*parts)

    def _written(self, key: str, data: bytes) -> tuple[Path, Path]:
        """Write a temporary file that is on the disk; return where it belongs, and its path."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = self.root / _TEMPORARY
        folder.mkdir(exist_ok=True)
        temporary = folder / secrets.token_hex(16)
        temporary.write_bytes(data)
        sync(temporary)
        return path, temporary

    def _unavailable(self, key: str, error: OSError) -> StorageUnavailable:
        return StorageUnavailable(
            f"The backup folder {self.name} cannot be used for {key}: {error.strerror}.",
            hint="Check BACKUP_URL, whether the folder is mounted, its owner and its free space.",
        )
