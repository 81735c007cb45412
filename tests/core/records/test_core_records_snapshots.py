"""Records of any earlier version migrate, and a copy of them is made first."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from core.records import upgrade
from core.records.database import Database
from core.records.migrate import MIGRATIONS, MigrationFailed, migrate
from core.records.snapshots import KEPT
from core.settings import REPOSITORY

CONFIG = Config()
CONFIG.set_main_option("script_location", str(MIGRATIONS))
REVISIONS = [script.revision for script in reversed(list(ScriptDirectory.from_config(CONFIG).walk_revisions()))]


def migrate_to(url: str, revision: str) -> None:
    """Bring a database to a revision, as the version of that time did."""

    def run(connection):
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        command.upgrade(config, revision)

    migrate(url, run)


def schema_of(path: Path) -> dict[str, list[str]]:
    engine = create_engine(f"sqlite:///{path}")
    inspector = inspect(engine)
    schema = {
        name: sorted(column["name"] for column in inspector.get_columns(name)) for name in inspector.get_table_names()
    }
    engine.dispose()
    return schema


def snapshots(folder: Path) -> list[Path]:
    return sorted(folder.glob("records.before-*"))


def add_checkpoint(path: Path, checkpoint_id: str) -> None:
    """Insert a row by its column names only, whatever the revision has."""
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = connection.execute("PRAGMA table_info(checkpoints)").fetchall()
        values = {
            name: 0 if "INT" in kind or "DOUBLE" in kind else "" for _, name, kind, needed, *_ in columns if needed
        }
        values["id"] = checkpoint_id
        if "metrics" in values:
            values["metrics"] = "{}"
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" for _ in values)
        connection.execute(f"INSERT INTO checkpoints ({names}) VALUES ({marks})", tuple(values.values()))


def checkpoint_ids(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM checkpoints")]


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_database_of_every_earlier_revision_migrates_after_a_copy_of_it(tmp_path, revision):
    fresh, old = tmp_path / "fresh.sqlite3", tmp_path / "records.sqlite3"
    upgrade(f"sqlite+aiosqlite:///{fresh}")
    migrate_to(f"sqlite+aiosqlite:///{old}", revision)
    add_checkpoint(old, "ckpt-before")
    schema_before = schema_of(old)
    for path in snapshots(tmp_path):
        path.unlink()

    upgrade(f"sqlite+aiosqlite:///{old}")

    assert schema_of(old) == schema_of(fresh)
    assert checkpoint_ids(old) == ["ckpt-before"]
    (snapshot,) = snapshots(tmp_path)
    assert snapshot.name.endswith(f"-{revision}.sqlite3")
    assert schema_of(snapshot) == schema_before
    assert checkpoint_ids(snapshot) == ["ckpt-before"]


def test_a_new_database_and_one_that_is_current_are_not_copied(tmp_path):
    for _ in range(2):
        upgrade(f"sqlite+aiosqlite:///{tmp_path}/records.sqlite3")

    assert snapshots(tmp_path) == []


def test_the_newest_three_copies_are_kept(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path}/records.sqlite3"
    migrate_to(url, REVISIONS[0])
    names = []
    for revision in REVISIONS[1 : KEPT + 3]:
        migrate_to(url, revision)
        names.append(max(snapshots(tmp_path)).name)

    assert [path.name for path in snapshots(tmp_path)] == names[-KEPT:]


def fail_after_changing(connection) -> None:
    connection.exec_driver_sql("CREATE TABLE half_done (id INTEGER)")
    connection.exec_driver_sql("ALTER TABLE files RENAME TO files_of_a_step")
    raise ValueError("a record that this step cannot read")


def test_a_migration_that_fails_leaves_the_database_as_it_was_and_names_the_copy(tmp_path):
    path = tmp_path / "records.sqlite3"
    migrate_to(f"sqlite+aiosqlite:///{path}", REVISIONS[-2])
    for old in snapshots(tmp_path):
        old.unlink()
    before = schema_of(path)

    with pytest.raises(MigrationFailed, match="a record that this step cannot read") as failure:
        migrate(f"sqlite+aiosqlite:///{path}", fail_after_changing)

    assert schema_of(path) == before
    (snapshot,) = snapshots(tmp_path)
    assert str(snapshot) in failure.value.hint


def test_a_copy_that_cannot_be_made_stops_the_migration(tmp_path):
    path = tmp_path / "records.sqlite3"
    migrate_to(f"sqlite+aiosqlite:///{path}", REVISIONS[-2])
    command_line = (
        "import os, resource, sys\n"
        "from core.records import upgrade\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({path.stat().st_size // 2}, resource.RLIM_INFINITY))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"upgrade('sqlite+aiosqlite:///{path}')\n"
    )
    before = schema_of(path)

    answer = subprocess.run(
        [sys.executable, "-c", command_line], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    assert "was not migrated, because no copy of it could be made first" in answer.stderr
    assert schema_of(path) == before
    assert [path for path in snapshots(tmp_path) if path.suffix == ".tmp"] == []


def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "records.sqlite3"
    upgrade(f"sqlite+aiosqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(MigrationFailed, match=r"newer version of sovitsd: its revision is 9999"):
        upgrade(f"sqlite+aiosqlite:///{path}")


def query(url: str, sql: str) -> list[tuple[str, ...]]:
    async def run() -> list[tuple[str, ...]]:
        database = Database(url)
        try:
            async with database.read() as connection:
                return [tuple(row) for row in await connection.exec_driver_sql(sql)]
        finally:
            await database.close()

    return asyncio.run(run())


def test_postgresql_keeps_a_copy_in_a_schema_of_its_own(postgres):
    database = postgres.new_database()
    migrate_to(database, REVISIONS[-3])

    migrate_to(database, REVISIONS[-2])
    with pytest.raises(MigrationFailed) as failure:
        migrate(database, fail_after_changing)

    name = failure.value.hint.split("schema ")[1].split(".")[0]
    rows = query(database, f'SELECT version_num FROM "{name}".alembic_version')
    assert rows == [(REVISIONS[-2],)]
    assert query(database, "SELECT version_num FROM alembic_version") == [(REVISIONS[-2],)]
    upgrade(database)
    assert query(database, "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]


def test_alembics_own_command_migrates_the_database_of_the_settings(tmp_path):
    path = tmp_path / "records.sqlite3"
    migrate_to(f"sqlite+aiosqlite:///{path}", REVISIONS[-2])

    answer = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(REPOSITORY / "alembic.ini"), "upgrade", "head"],
        cwd=tmp_path,
        env={**os.environ, "SQLITE_PATH": str(path), "DATA_PATH": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    upgrade(f"sqlite+aiosqlite:///{tmp_path}/fresh.sqlite3")
    assert schema_of(path) == schema_of(tmp_path / "fresh.sqlite3")
    assert len(snapshots(tmp_path)) == 1
