"""Connections of the database are closed, however the requests that use them end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import pytest
from daemon_stage import until
from sqlalchemy.ext.asyncio import AsyncConnection

from core.records.database import Database

SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'records.sqlite3'}")
    yield database
    await database.close()


def connect(database: Database, mode: str) -> AbstractAsyncContextManager[AsyncConnection]:
    return database.write() if mode == "write" else database.read()


def threads_of_connections() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "_connection_worker_thread" in thread.name]


@pytest.mark.parametrize("mode", ["read", "write"])
async def test_a_request_whose_client_leaves_during_a_statement_leaves_no_connection_behind(
    database: Database, mode: str
):
    before = set(threads_of_connections())
    started = asyncio.Event()

    async def request() -> None:
        async with connect(database, mode) as connection:
            started.set()
            await connection.exec_driver_sql(SLOW)

    async with anyio.create_task_group() as response:  # as in Starlette, which cancels it again at every await
        response.start_soon(request)
        await started.wait()
        response.cancel_scope.cancel()
    await database.close()

    assert asyncio.all_tasks() == {asyncio.current_task()}
    until(lambda: set(threads_of_connections()) <= before)


@pytest.mark.parametrize("mode", ["read", "write"])
@pytest.mark.parametrize("how", ["ends", "is cancelled"])
async def test_a_database_that_is_closed_waits_for_nobody_and_who_uses_it_closes_the_connection(
    database: Database, mode: str, how: str
):
    before = set(threads_of_connections())
    started, finish = asyncio.Event(), asyncio.Event()

    async def request() -> None:
        async with connect(database, mode) as connection:
            await connection.exec_driver_sql("SELECT 1")
            started.set()
            await finish.wait()

    requesting = asyncio.create_task(request())
    await started.wait()

    await asyncio.wait_for(database.close(), 20)
    assert not requesting.done()
    if how == "ends":
        finish.set()
    else:
        requesting.cancel()
    await asyncio.wait({requesting}, timeout=20)

    assert requesting.cancelled() is (how == "is cancelled")
    until(lambda: set(threads_of_connections()) <= before)
