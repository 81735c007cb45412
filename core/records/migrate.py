"""Migration of the tables to the newest revision; any process may do it first."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from core.errors import RecordsUnavailable
from core.records.change_triggers import install_triggers
from core.records.database import BUSY_TIMEOUT_MS, Database
from core.records.database_url import is_sqlite
from core.records.snapshots import snapshot_postgres, snapshot_sqlite

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "head"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_ADVISORY_LOCK: Final = 7_368_766
"""A number that no other program of the same PostgreSQL uses."""
_ONE_AT_A_TIME: Final = threading.Lock()
"""Alembic keeps its context in a global."""


class MigrationFailed(RecordsUnavailable):
    """The tables are of a version that this one cannot bring to its own."""

    code = "migration_failed"


def upgrade(url: str, revision: str = HEAD) -> None:
    """Create or migrate the tables; harmless when repeated, and a second process waits for the first.

    `revision` is an older one where rows of that time are to be inserted; the newest has the change table's triggers.
    From async code: `await asyncio.to_thread(upgrade, url)`. Records that exist are copied first (`snapshots.py`).
    Raise RecordsUnavailable when SQLite cannot open its file, and MigrationFailed, which names the copy.
    """
    with _ONE_AT_A_TIME:
        migrate(url, partial(_run_alembic, revision=revision))


def migrate(url: str, run: Callable[[Connection], None]) -> None:
    """Call `run` with a connection that holds the lock of migrations, and undo what it did if it fails."""
    with ThreadPoolExecutor(max_workers=1) as own_thread:  # the caller's may run a loop already
        if is_sqlite(url):
            _prepare_file(url)
        own_thread.submit(lambda: asyncio.run(_migrate(url, run))).result()


def newest_revision() -> str:
    """Return the revision that `upgrade` leads to."""
    return max(_known_revisions())


def has_revision(revision: str) -> bool:
    """Return whether this code knows a revision, so that it can migrate from it."""
    return revision in _known_revisions()


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_alembic_config()).walk_revisions()}


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


async def _migrate(url: str, run: Callable[[Connection], None]) -> None:
    database = Database(url)
    try:
        async with database.write() as connection:
            if not is_sqlite(url):
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
            revision = await connection.run_sync(_revision)
            head = _head(revision)
            snapshot = await _snapshot(database, revision) if revision and revision != head else ""
            try:
                await connection.run_sync(run)
            except Exception as error:  # of the database, or of a step that meets records it does not expect
                hint = "The version of sovitsd that wrote the records still starts with them."
                if snapshot:
                    hint = f"The records as they were are in {snapshot}. {hint}"
                raise MigrationFailed(
                    f"The database cannot be migrated from revision {revision or 'none'} to {head}, and is unchanged: "
                    f"{error}",
                    hint=hint,
                ) from error
    finally:
        await database.close()


async def _snapshot(database: Database, revision: str) -> str:
    """Copy the records and return the copy's name; the caller holds the lock of migrations."""
    if is_sqlite(database.url):
        return snapshot_sqlite(database.url, revision)
    # A transaction of its own: the copy stays when the migration is undone.
    async with database.write() as connection:
        return await connection.run_sync(snapshot_postgres, revision)


def _revision(connection: Connection) -> str | None:
    """Return the revision of the tables; None for a new database."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _head(revision: str | None) -> str:
    """Return the newest revision; raise MigrationFailed when the tables' own is none that is known here."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_alembic_config())
    head = scripts.get_current_head() or ""
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        raise MigrationFailed(
            f"The database is of a newer version of sovitsd: its revision is {revision}; {head} is the newest here.",
            hint="Install that version again, or start with a snapshot of the records from before (docs/upgrade.md).",
        )
    return head


def _alembic_config(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _run_alembic(connection: Connection, revision: str) -> None:
    from alembic import command

    command.upgrade(_alembic_config(connection), revision)
    if revision == HEAD:
        install_triggers(connection)
