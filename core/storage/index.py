"""Which local files are copies of which objects of a bucket; shared by all processes of a host."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from core.storage.bucket import Sent

BUSY_SECONDS: Final = 30.0
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS copies (
    key TEXT PRIMARY KEY, etag TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL,
    used_at REAL NOT NULL
) WITHOUT ROWID
"""
_INSERT: Final = "INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?, ?)"


class Index:
    """A SQLite file; losing it costs a second download, nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = False

    def get(self, key: str) -> Sent | None:
        with self._connected() as connection:
            row = connection.execute("SELECT etag, size, mtime_ns, sha256 FROM copies WHERE key = ?", (key,)).fetchone()
        return None if row is None else Sent(*row)

    def under(self, prefix: str) -> dict[str, Sent]:
        """By key, those that begin with `prefix/`."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT key, etag, size, mtime_ns, sha256 FROM copies WHERE key >= ? AND key < ?", _range(prefix)
            ).fetchall()
        return {key: Sent(*values) for key, *values in rows}

    def put(self, key: str, sent: Sent, now: float) -> None:
        with self._connected() as connection:
            connection.execute(_INSERT, (key, sent.etag, sent.size, sent.mtime_ns, sent.sha256, now))

    def touch(self, key: str, now: float) -> None:
        with self._connected() as connection:
            connection.execute("UPDATE copies SET used_at = ? WHERE key = ?", (now, key))

    def touch_under(self, prefix: str, now: float) -> None:
        with self._connected() as connection:
            connection.execute("UPDATE copies SET used_at = ? WHERE key >= ? AND key < ?", (now, *_range(prefix)))

    def forget(self, keys: Iterable[str]) -> None:
        with self._connected() as connection:
            connection.executemany("DELETE FROM copies WHERE key = ?", [(key,) for key in keys])

    def total_bytes(self) -> int:
        with self._connected() as connection:
            return int(connection.execute("SELECT coalesce(sum(size), 0) FROM copies").fetchone()[0])

    def oldest(self, unused_since: float) -> list[tuple[str, int]]:
        """Keys and sizes, the longest unused first."""
        with self._connected() as connection:
            return connection.execute(
                "SELECT key, size FROM copies WHERE used_at < ? ORDER BY used_at", (unused_since,)
            ).fetchall()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A transaction on a connection of its own: any thread may come, and children inherit nothing."""
        if not self._made:
            os.makedirs(self.path.parent, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as connection:
            if not self._made:
                connection.execute(_TABLE)
                self._made = True
            with connection:
                yield connection


def _range(prefix: str) -> tuple[str, str]:
    return f"{prefix}/", f"{prefix}0"  # `0` comes right after `/`
