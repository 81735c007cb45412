"""Migration of the tables to the newest revision; any process may do it first."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from filelock import FileLock
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from core.errors import RecordsUnavailable
from core.records.database import BUSY_TIMEOUT_MS, Database
from core.records.database_url import is_sqlite

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_ADVISORY_LOCK: Final = 7_368_766
"""A number that no other program of the same PostgreSQL uses."""
_ONE_AT_A_TIME: Final = threading.Lock()
"""Alembic keeps its context in a global."""


def upgrade(url: str) -> None:
    """Create or migrate the tables; harmless when repeated, and a second process waits for the first.

    From async code: `await asyncio.to_thread(upgrade, url)`. Raise RecordsUnavailable when SQLite cannot open its file.
    """
    with (
        _ONE_AT_A_TIME,
        ThreadPoolExecutor(max_workers=1) as own_thread,
    ):  # the caller's may run a loop already
        if is_sqlite(url):
            _prepare_file(url)
        own_thread.submit(lambda: asyncio.run(_upgrade(url))).result()


def _prepare_file(url: str) -> None:
    path = Path(make_url(url).database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite does not let two processes wait for each other that switch a new file to WAL: one gets "locked".
        with FileLock(f"{path}.lock", timeout=BUSY_TIMEOUT_MS / 1000):
            connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000)
            try:
                connection.execute("PRAGMA journal_mode = WAL")  # stays with the file
            finally:
                connection.close()
    except (OSError, sqlite3.Error) as error:
        raise RecordsUnavailable(
            f"the database {path} cannot be opened: {error}",
            hint="Check DATABASE_URL, DATA_PATH and their owner.",
        ) from None


async def _upgrade(url: str) -> None:
    database = Database(url)
    try:
        async with database.write() as connection:
            if not is_sqlite(url):
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
            await connection.run_sync(_run_alembic)
    finally:
        await database.close()


def _run_alembic(connection: Connection) -> None:
    # Imported here: only a process that migrates needs them.
    from alembic import command
    from alembic.config import Config

    attributes: dict[str, Any] = {"connection": connection}
    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")
