"""The way to the database: one writer that never deadlocks, a few readers that never wait for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields
from typing import Any, Final, TypeVar

import orjson
from sqlalchemy import Column, Connection, Table, event, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql import ColumnElement

from core.errors import MissingPart, RecordsUnavailable
from core.records.address import is_sqlite, usable
from core.records.explain import explained
from core.records.rows import Page

Record = TypeVar("Record")
Answer = TypeVar("Answer")

BUSY_TIMEOUT_MS: Final = 10_000
"""How long a SQLite writer waits for the writer of another process."""
READERS: Final = 2
"""Connections of one process that only read; more readers than these wait for one of them."""
WRITERS: Final = 4
"""On PostgreSQL, where they need not take turns."""
NAMED_BY_CONTENT: Final = ("checkpoints", "voices")
"""Tables whose ids may be made from what they stand for, and then say nothing of the time."""


class Database:
    """Engines for one event loop; `close` ends their connections."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.writer, self.reader = _engines(url)
        # Here one waits in turn and as long as it takes; a pool would give up, and SQLite's busy handler is unfair.
        self._writing = asyncio.Semaphore(1 if is_sqlite(url) else WRITERS)
        self._reading = asyncio.Semaphore(READERS)

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write; an exception inside undoes all of it."""
        async with self._writing, _connected(self.writer) as connection, connection.begin():
            with explained():
                yield connection

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for single SELECTs; no transaction."""
        async with self._reading, _connected(self.reader) as connection:
            with explained():
                yield connection

    async def write_alone(self, action: Callable[[AsyncConnection], Awaitable[Answer]]) -> Answer:
        """Look, decide and insert in one transaction; once more when someone else was quicker.

        PostgreSQL lets another process commit between a look and an insert; a second look finds what it wrote.
        SQLite holds the write lock over both.
        """
        try:
            async with self.write() as connection:
                return await action(connection)
        except IntegrityError:
            async with self.write() as connection:
                return await action(connection)

    async def close(self) -> None:
        await self.writer.dispose()
        if self.reader.sync_engine.pool is not self.writer.sync_engine.pool:
            await self.reader.dispose()


def columns(table: Table, record: type[Any]) -> list[Column[Any]]:
    """The table's columns in the order of the record's fields, so that `record(*row)` works."""
    return [table.c[one.name] for one in fields(record)]


def as_values(record: Any) -> dict[str, Any]:
    """A record as the values of its row."""
    return {one.name: getattr(record, one.name) for one in fields(record)}


async def fetch_one(
    connection: AsyncConnection, table: Table, record: type[Record], *where: ColumnElement[bool], lock: bool = False
) -> Record | None:
    """`lock` keeps others on PostgreSQL from changing the row, or pointing to it, until the transaction ends."""
    query = select(*columns(table, record)).where(*where)
    row = (await connection.execute(query.with_for_update() if lock else query)).first()
    return None if row is None else record(*row)


async def fetch_all(
    connection: AsyncConnection,
    table: Table,
    record: type[Record],
    *where: ColumnElement[bool],
    order_by: Column[Any] | None = None,
    limit: int | None = None,
) -> list[Record]:
    query = select(*columns(table, record)).where(*where)
    if order_by is not None:
        query = query.order_by(order_by)
    if limit is not None:
        query = query.limit(limit)
    return [record(*row) for row in (await connection.execute(query)).all()]


async def fetch_page(
    connection: AsyncConnection,
    table: Table,
    record: type[Record],
    limit: int,
    offset: int,
    *where: ColumnElement[bool],
) -> Page[Record]:
    """Newest first. Most ids begin with their time, and the primary key has that order; those of `NAMED_BY_CONTENT` do
    not."""
    order = (table.c.created_at.desc(),) if table.name in NAMED_BY_CONTENT else ()
    total = (await connection.execute(select(func.count()).select_from(table).where(*where))).scalar_one()
    query = (
        select(*columns(table, record)).where(*where).order_by(*order, table.c.id.desc()).limit(limit).offset(offset)
    )
    return Page([record(*row) for row in (await connection.execute(query)).all()], total)


@contextlib.asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    connection = engine.connect()
    try:
        await connection.start()
    except Exception as error:  # of the driver, of the network, of the name server
        raise RecordsUnavailable(f"The database cannot be reached: {error}", hint="Check DATABASE_URL.") from error
    try:
        yield connection
    finally:
        await connection.close()


def _engines(url: str) -> tuple[AsyncEngine, AsyncEngine]:
    json: dict[str, Any] = {
        "json_serializer": lambda value: orjson.dumps(value).decode(),
        "json_deserializer": orjson.loads,
    }
    if not is_sqlite(url):
        engine = _postgres_engine(url, json)
        return engine, engine.execution_options(isolation_level="AUTOCOMMIT")
    writer = create_async_engine(url, pool_size=1, max_overflow=0, pool_reset_on_return=None, **json)
    event.listen(writer.sync_engine, "connect", _prepare_sqlite)
    event.listen(writer.sync_engine, "begin", _begin_immediate)
    reader = create_async_engine(
        url,
        pool_size=READERS,
        max_overflow=0,
        pool_reset_on_return=None,  # a lone SELECT in autocommit leaves nothing to roll back
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        **json,
    )
    event.listen(reader.sync_engine, "connect", _prepare_sqlite)
    return writer, reader


def _postgres_engine(url: str, json: dict[str, Any]) -> AsyncEngine:
    try:
        return create_async_engine(usable(url), pool_size=READERS + WRITERS, max_overflow=0, pool_pre_ping=True, **json)
    except ModuleNotFoundError:
        raise MissingPart(
            "DATABASE_URL names PostgreSQL, and its driver is not installed.",
            hint="pip install 'sovitsd[postgres]'.",
        ) from None


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_immediate` says, not where the driver guesses
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "synchronous = NORMAL",  # with WAL a killed process loses nothing; a power cut, the last moments
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads first and wants to write later cannot wait for another writer: SQLite
    # must fail it at once ("database is locked"). One that takes the write lock first only waits.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
