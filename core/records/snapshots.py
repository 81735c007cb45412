"""Copies of the records before a migration: a file beside SQLite's, a schema of its own in PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from core.errors import RecordsUnavailable

KEPT: Final = 3
"""The newest snapshots; older ones are deleted."""
_POSTGRES_PREFIX: Final = "sovitsd_before_"


def snapshot_sqlite(url: str, revision: str) -> str:
    """Copy the file of the records, as committed, and return the copy's path; raise RecordsUnavailable if it fails.

    Writers of other processes must wait meanwhile.
    """
    path = Path(make_url(url).database or "")
    target = path.with_name(f"{path.stem}.before-{_stamp()}-{revision}{path.suffix}")
    temporary = target.with_name(target.name + ".tmp")
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(temporary)) as copy:
            source.backup(copy)
        temporary.replace(target)
    except (OSError, sqlite3.Error) as error:
        temporary.unlink(missing_ok=True)
        raise RecordsUnavailable(
            f"The database was not migrated, because no copy of it could be made first: {error}.",
            hint=f"Make room in {path.parent}, or let this user write there.",
        ) from None
    for old in sorted(path.parent.glob(f"{path.stem}.before-*{path.suffix}"))[:-KEPT]:
        with suppress(OSError):  # the next migration deletes it
            old.unlink()
    return str(target)


def snapshot_postgres(connection: Connection, revision: str) -> str:
    """Copy every table of the current schema into a new one and return its name; `connection` commits afterwards."""
    name = f"{_POSTGRES_PREFIX}{_stamp()}_{revision}".lower().replace("-", "_")
    quote = connection.dialect.identifier_preparer.quote
    tables = connection.execute(
        text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename")
    ).scalars()
    connection.execute(text(f"CREATE SCHEMA {quote(name)}"))
    for table in list(tables):
        connection.execute(text(f"CREATE TABLE {quote(name)}.{quote(table)} AS TABLE {quote(table)}"))
    schemas = connection.execute(
        text("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, :prefix) ORDER BY nspname"),
        {"prefix": _POSTGRES_PREFIX},
    ).scalars()
    for old in list(schemas)[:-KEPT]:
        connection.execute(text(f"DROP SCHEMA {quote(old)} CASCADE"))
    return f"schema {name}"


def _stamp() -> str:
    """Return the time in UTC; names with it sort by age."""
    now = time.time()
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}{int(now % 1 * 1e6):06d}"
