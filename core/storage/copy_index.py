"""The index of local copies of a bucket's objects, shared by all processes of a host."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from core.storage.bucket import LocalCopy

BUSY_SECONDS: Final = 30.0
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS copies (
    key TEXT PRIMARY KEY, etag TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL,
    used_at REAL NOT NULL
) WITHOUT ROWID
"""
_INSERT: Final = "INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?, ?)"


class CopyIndex:
    """A SQLite file; losing it costs repeated downloads, nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._created = False

    def get(self, key: str) -> LocalCopy | None:
        """Return the copy of an object, or None."""
        with self._transaction() as connection:
            row = connection.execute("SELECT etag, size, mtime_ns, sha256 FROM copies WHERE key = ?", (key,)).fetchone()
        return None if row is None else LocalCopy(*row)

    def under(self, prefix: str) -> dict[str, LocalCopy]:
        """Return the copies of all objects under `prefix/`, by key."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT key, etag, size, mtime_ns, sha256 FROM copies WHERE key >= ? AND key < ?", _range(prefix)
            ).fetchall()
        return {key: LocalCopy(*values) for key, *values in rows}

    def put(self, key: str, copy: LocalCopy, now: float) -> None:
        """Record that the local file is a copy of the object."""
        with self._transaction() as connection:
            connection.execute(_INSERT, (key, copy.etag, copy.size, copy.mtime_ns, copy.sha256, now))

    def touch(self, key: str, now: float) -> None:
        """Record a use of a copy."""
        with self._transaction() as connection:
            connection.execute("UPDATE copies SET used_at = ? WHERE key = ?", (now, key))

    def touch_under(self, prefix: str, now: float) -> None:
        """Record a use of all copies under `prefix/`."""
        with self._transaction() as connection:
            connection.execute("UPDATE copies SET used_at = ? WHERE key >= ? AND key < ?", (now, *_range(prefix)))

    def remove(self, keys: Iterable[str]) -> None:
        """Remove copies from the index."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM copies WHERE key = ?", [(key,) for key in keys])

    def total_bytes(self) -> int:
        """Return the size of all copies."""
        with self._transaction() as connection:
            return int(connection.execute("SELECT coalesce(sum(size), 0) FROM copies").fetchone()[0])

    def unused(self, since: float) -> list[tuple[str, int]]:
        """Return keys and sizes of copies not used since then, the longest unused first."""
        with self._transaction() as connection:
            return connection.execute(
                "SELECT key, size FROM copies WHERE used_at < ? ORDER BY used_at", (since,)
            ).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction on a connection of its own: safe in any thread, and nothing is inherited by children."""
        if not self._created:
            os.makedirs(self.path.parent, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as connection:
            if not self._created:
                connection.execute(_TABLE)
                self._created = True
            with connection:
                yield connection


def _range(prefix: str) -> tuple[str, str]:
    return f"{prefix}/", f"{prefix}0"  # `0` comes right after `/`
