"""The records as one consistent state, table by table, in a form that any database can take.

SQLite's online backup copies the file while others write; PostgreSQL shows one snapshot to a transaction. Rows go in
the order of their primary keys into JSON lines, cut where the keys say: a new row changes one object, not all behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import sqlite3
import tempfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import JSON, Connection, MetaData, Table, select, text
from sqlalchemy import Row as SqlRow
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from common.program_name import program_name
from core.errors import RecordsUnavailable
from core.records.change_triggers import CHANGE_TABLE
from core.records.database import BUSY_TIMEOUT_MS, Database
from core.records.database_url import is_sqlite
from recovery.backup.manifest import row_key

VERSION_TABLE: Final = "alembic_version"
LEFT_OUT: Final = (VERSION_TABLE, CHANGE_TABLE)
_CUT_EVERY: Final = 1024
"""Rows of an object, on average."""
_MAX_BYTES: Final = 4 << 20

Row = dict[str, object]


@contextlib.asynccontextmanager
async def snapshot(url: str, scratch: Path) -> AsyncIterator[AsyncConnection]:
    """Yield a connection that shows one state of the records; `scratch` is a folder for a copy of a SQLite file."""
    if is_sqlite(url):
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            copy = Path(folder) / "records.sqlite3"
            await asyncio.to_thread(_copy_sqlite, Path(make_url(url).database or ""), copy)
            database = Database(f"sqlite+aiosqlite:///{copy}")
            try:
                async with database.read() as connection:
                    yield connection
            finally:
                await database.close()
        return
    database = Database(url)
    try:
        async with database.write() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            yield connection
    finally:
        await database.close()


async def reflect_tables(connection: AsyncConnection) -> dict[str, Table]:
    """Return the tables as the database has them, parents before children, without those that no backup holds."""

    def reflect(sync_connection: Connection) -> dict[str, Table]:
        metadata = MetaData()
        metadata.reflect(sync_connection)
        for table in metadata.tables.values():
            for column in table.columns:
                if isinstance(column.type, JSON) and column.nullable:
                    column.type = JSON(none_as_null=True)
        return {table.name: table for table in metadata.sorted_tables if table.name not in LEFT_OUT}

    return await connection.run_sync(reflect)


async def schema_revision(connection: AsyncConnection) -> str:
    """Return the revision of the tables."""
    revision = await connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    if revision is None:
        raise RecordsUnavailable(
            "The database has no tables yet.", hint=f"Start the service once: {program_name()} serve."
        )
    return str(revision)


async def export_table(connection: AsyncConnection, table: Table) -> AsyncIterator[tuple[int, bytes]]:
    """Yield the number of rows and the JSON lines of each object of a table."""
    keys = [column.name for column in table.primary_key]
    lines, size = [], 0
    result = await connection.stream(select(table).order_by(*table.primary_key))
    async for record in result:
        row = plain_row(table.name, record)
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS)
        lines.append(line)
        size += len(line)
        if size >= _MAX_BYTES or zlib.crc32(row_key(row, keys).encode()) % _CUT_EVERY == 0:
            yield len(lines), b"".join(lines)
            lines, size = [], 0
    if lines:
        yield len(lines), b"".join(lines)


async def write_rows(url: str, path: Path) -> None:
    """Write all rows of a database to a new file: for each table its name, then its rows as JSON lines, in gzip."""
    async with snapshot(url, path.parent) as connection:
        with gzip.open(path, "xb") as file:
            for name, table in (await reflect_tables(connection)).items():
                file.write(orjson.dumps({"table": name}, option=orjson.OPT_APPEND_NEWLINE))
                async for _, lines in export_table(connection, table):
                    file.write(lines)


def plain_row(table: str, record: SqlRow[Any]) -> Row:
    """Return a row without secrets in plaintext, as PostgreSQL has them without SECRETS_KEY."""
    row: Row = {str(name): value for name, value in record._mapping.items()}
    if table == "webhooks" and not str(row["secret"]).startswith("fernet:"):
        return {**row, "secret": ""}
    return row


def _copy_sqlite(path: Path, copy: Path) -> None:
    """Copy a database while others write to it; readers and writers wait for nothing."""
    try:
        with (
            contextlib.closing(
                sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_MS / 1000)
            ) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            # A single file: its readers here need no shared memory beside it.
            target.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise RecordsUnavailable(
            f"The records in {path} cannot be copied: {error}.", hint="Check DATA_PATH and its free space."
        ) from error
