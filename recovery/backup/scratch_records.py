"""Records on their way into a database: the rows of a backup, the changes behind it, and migrations between them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import orjson
from sqlalchemy import Table, delete, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import Conflict
from core.records import upgrade
from core.records.database import Database
from core.records.database_url import is_sqlite
from core.records.migrate import HEAD
from core.records.tables import record_changes
from recovery.backup.manifest import ChangedRow
from recovery.backup.records_export import Row, export_table, reflect_tables

_ROWS_AT_ONCE: Final = 500


class ScratchRecords:
    """Rows by table and primary key, in a file, so that any number fits."""

    def __init__(self, folder: Path) -> None:
        """Begin empty, with files in `folder`."""
        self._folder = folder
        path = folder / "rows.sqlite3"
        path.unlink(missing_ok=True)
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute(
            "CREATE TABLE rows (name TEXT, row_key TEXT, content BLOB, PRIMARY KEY (name, row_key)) WITHOUT ROWID"
        )
        self._empty_at = ""
        """Revision of the database file, as long as it has no rows."""
        self._keys: dict[str, list[str]] = {}
        """Primary key columns by table."""

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def learn_keys(self, revision: str) -> None:
        """Look up the primary keys of the tables at a revision of the schema."""
        url = self._empty_database(revision)

        async def read_keys() -> dict[str, list[str]]:
            database = Database(url)
            try:
                async with database.read() as connection:
                    tables = await reflect_tables(connection)
            finally:
                await database.close()
            return _primary_keys(tables)

        self._keys = asyncio.run(read_keys())

    def add_lines(self, table: str, lines: bytes) -> None:
        """Add the rows of an object of a backup."""
        columns = self._keys[table]
        self._write(
            (table, orjson.dumps([row[column] for column in columns]).decode(), line)
            for line in lines.splitlines()
            for row in (orjson.loads(line),)
        )

    def apply(self, changes: Iterable[ChangedRow]) -> None:
        """Apply changes in their order."""
        for change in changes:
            key = orjson.dumps(change.key).decode()
            if change.row is None:
                self._connection.execute("DELETE FROM rows WHERE name = ? AND row_key = ?", (change.table, key))
            else:
                self._write([(change.table, key, orjson.dumps(change.row))])
        self._connection.commit()

    def migrate(self, revision: str, to: str) -> None:
        """Bring all rows from one revision of the schema to another."""
        url = self._empty_database(revision)
        asyncio.run(self.insert_into(url))
        upgrade(url, to)
        self._empty_at = ""
        self._connection.execute("DELETE FROM rows")
        asyncio.run(self._read_from(url))

    def write_file(self, revision: str) -> Path:
        """Return a SQLite file with all rows, migrated from a revision to the newest one."""
        url = self._empty_database(revision)
        asyncio.run(self.insert_into(url))
        upgrade(url, HEAD)
        self._empty_at = ""
        asyncio.run(_forget_changes(url))
        return self._database_file

    async def insert_into(self, url: str) -> None:
        """Insert all rows into a database whose tables are empty and of their revision.

        Raises:
            Conflict: it has rows already.
        """
        database = Database(url)
        try:
            async with database.write() as connection:
                tables = await reflect_tables(connection)
                for name, table in tables.items():
                    if (await connection.execute(table.select().limit(1))).first() is not None:
                        raise Conflict(
                            f"The database has rows in {name} already.",
                            hint="Name an empty database in DATABASE_URL.",
                        )
                await self._insert_rows(connection, tables)
        finally:
            await database.close()

    async def replace_rows(self, url: str) -> None:
        """Put all rows, which are of the newest revision, in place of those of a database, in one transaction.

        Services that read the database see the rows from before or these, never some of each.
        """
        await asyncio.to_thread(upgrade, url)
        database = Database(url)
        try:
            async with database.write() as connection:
                tables = await reflect_tables(connection)
                for table in reversed(tables.values()):
                    await connection.execute(delete(table))
                await self._insert_rows(connection, tables)
                await connection.execute(delete(record_changes))
        finally:
            await database.close()

    async def _insert_rows(self, connection: AsyncConnection, tables: dict[str, Table]) -> None:
        for name, table in tables.items():
            for rows in self._batches(name):
                await connection.execute(insert(table), rows)

    async def _read_from(self, url: str) -> None:
        database = Database(url)
        try:
            async with database.read() as connection:
                tables = await reflect_tables(connection)
                self._keys = _primary_keys(tables)
                for name, table in tables.items():
                    async for _, lines in export_table(connection, table):
                        self.add_lines(name, lines)
        finally:
            await database.close()

    def _batches(self, table: str) -> Iterator[list[Row]]:
        cursor = self._connection.execute("SELECT content FROM rows WHERE name = ? ORDER BY row_key", (table,))
        while contents := cursor.fetchmany(_ROWS_AT_ONCE):
            yield [orjson.loads(content) for (content,) in contents]

    def _write(self, rows: Iterable[tuple[str, str, bytes]]) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", rows)

    @property
    def _database_file(self) -> Path:
        return self._folder / "records.sqlite3"

    def _empty_database(self, revision: str) -> str:
        """Return the address of a database with the tables of a revision and no rows."""
        url = f"sqlite+aiosqlite:///{self._database_file}"
        if self._empty_at != revision:
            for path in self._folder.glob(f"{self._database_file.name}*"):
                path.unlink()
            upgrade(url, revision)
            self._empty_at = revision
        return url


def _primary_keys(tables: dict[str, Table]) -> dict[str, list[str]]:
    return {name: [str(column.name) for column in table.primary_key] for name, table in tables.items()}


async def fill_database(url: str, scratch: ScratchRecords) -> None:
    """Create the tables of the newest revision in an outside database and insert all rows, which are of that revision.

    Raises:
        Conflict: it has rows already.
    """
    await asyncio.to_thread(upgrade, url)
    await scratch.insert_into(url)
    await _forget_changes(url)


async def _forget_changes(url: str) -> None:
    """Empty the change table: a full backup comes before any changes are sent."""
    database = Database(url)
    try:
        async with database.write() as connection:
            await connection.execute(delete(record_changes))
        if is_sqlite(url):
            async with database.read() as connection:
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        await database.close()
