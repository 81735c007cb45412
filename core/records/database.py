"""Access to the database: one writer that never deadlocks, a few readers that never wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

import orjson
from anyio import CancelScope
from sqlalchemy import Connection, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from core.errors import MissingPart, RecordsUnavailable
from core.records.database_url import is_sqlite, with_async_driver
from core.records.driver_errors import convert_driver_errors

Result = TypeVar("Result")

BUSY_TIMEOUT_MS: Final = 10_000
"""How long a SQLite writer waits for the writer of another process."""
READERS: Final = 2
"""Connections of one process that only read; more readers than these wait for one of them."""
WRITERS: Final = 4
"""Concurrent write transactions on PostgreSQL; SQLite allows one."""


class Database:
    """The connections of one event loop, shared by all repositories."""

    def __init__(
        self, url: str, clock: Callable[[], float] = time.time, *, check_write: Callable[[], None] | None = None
    ) -> None:
        """`check_write` raises when nothing may be written; it is called at the begin and the end of a transaction."""
        self.url = url
        self._check_write = check_write
        self.now = clock
        """The current time in seconds since the epoch."""
        self.writer, self.reader = _engines(url)
        # Semaphores wait in order and without a limit; a pool would time out, and SQLite's busy handler is unfair.
        self._writing = asyncio.Semaphore(1 if is_sqlite(url) else WRITERS)
        self._reading = asyncio.Semaphore(READERS)
        self._closed = False

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that may write; an exception inside undoes all of it."""
        if self._check_write is not None:
            self._check_write()
        async with self._writing, self._connected(self.writer) as connection, connection.begin():
            with convert_driver_errors():
                yield connection
            if self._check_write is not None:
                self._check_write()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for single SELECTs; no transaction."""
        async with self._reading, self._connected(self.reader) as connection:
            with convert_driver_errors():
                yield connection

    async def write_with_retry(self, action: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        """Run `action` in a transaction, and once more when it violates a constraint.

        On PostgreSQL another process may commit between the SELECT and the INSERT of `action`; the second run sees
        what it wrote. SQLite holds the write lock over both.
        """
        try:
            async with self.write() as connection:
                return await action(connection)
        except IntegrityError:
            async with self.write() as connection:
                return await action(connection)

    async def erase_deleted(self) -> None:
        """Write SQLite's file anew, without what was deleted or replaced; PostgreSQL does so in its own time."""
        if is_sqlite(self.url):
            async with self.read() as connection:
                await connection.exec_driver_sql("VACUUM")
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    async def close(self) -> None:
        """Close all connections; one that is in use is closed by its user."""
        self._closed = True
        await self.writer.dispose()
        if self.reader.sync_engine.pool is not self.writer.sync_engine.pool:
            await self.reader.dispose()

    @contextlib.asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        connection = engine.connect()
        # A response whose client leaves is cancelled again at every await until it ends: no connection would be closed
        # then. The end of a process cancels once, which this does not keep out.
        with CancelScope(shield=True):
            try:
                await connection.start()
            except Exception as error:  # of the driver, the network or the name server
                hint = "Check DATABASE_URL."
                raise RecordsUnavailable(f"The database cannot be reached: {error}", hint=hint) from error
            try:
                yield connection
            finally:
                if self._closed:  # the pool that it would return to is no more
                    await connection.invalidate()
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
        return create_async_engine(
            with_async_driver(url), pool_size=READERS + WRITERS, max_overflow=0, pool_pre_ping=True, **json
        )
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
    # A transaction that reads first and writes later cannot wait for another writer: SQLite
    # must fail it at once ("database is locked"). One that takes the write lock first only waits.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
