"""Backups in a bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from core.storage.bucket import RETRY_SECONDS, Bucket
from recovery.backup.target import TargetEntry


class BucketTarget:
    """Backups under a prefix of a bucket; see `recovery.backup.target.BackupTarget`."""

    def __init__(self, url: str, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self._bucket = Bucket(url, setting="BACKUP_URL", retry_seconds=retry_seconds)
        self.name = self._bucket.name

    def read(self, key: str) -> bytes:
        """Return the bytes of an object; raise FileNotFoundError when there is none."""
        return self._bucket.read(key)

    def write(self, key: str, data: bytes) -> None:
        """Write an object, completely or not at all, in place of an older one."""
        self._bucket.write(key, data)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one, and return whether that was so; of several writers, one succeeds."""
        return self._bucket.create(key, data)

    def upload(self, path: Path, key: str) -> None:
        """Write a file of any size as an object."""
        self._bucket.upload(path, key)

    def list(self, prefix: str) -> Iterator[TargetEntry]:
        """Yield the objects under `prefix/`, in no order."""
        for info in self._bucket.list(prefix):
            yield TargetEntry(info.key, info.size, info.modified)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; missing ones are ignored."""
        self._bucket.delete(keys)
