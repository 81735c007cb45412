"""Owners of records: what a caller may see, and what an upgrade makes of records without owners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from core.access import ALL_SCOPES, ANONYMOUS, LOCAL, USER_SCOPES, Caller, Scope, act_as
from core.errors import Forbidden, NotFound
from core.records import NewFileRecord, Records, upgrade
from core.records.migrate import MIGRATIONS

ALICE, BOB = (Caller(name, USER_SCOPES, f"key-{name}") for name in ("alice", "bob"))
ROOT = Caller("root", ALL_SCOPES, "key-root")


@pytest.fixture
def old_database(tmp_path: Path) -> str:
    """Create the tables of before there were owners, with a file, a user's key and an admin's; return its URL."""
    path = tmp_path / "old.sqlite3"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        command.upgrade(config, "0005")
        connection.execute(
            text(
                "INSERT INTO files (id, filename, purpose, size_bytes, sha256, media_type, storage_key, uploaded_at)"
                " VALUES ('file-old', 'a.wav', 'training', 1, 'x', 'audio/wav', 'files/file-old', 0)"
            )
        )
        for name, admin in (("laptop", 0), ("ops", 1)):
            connection.execute(
                text(
                    "INSERT INTO api_keys (id, name, key_hash, shown, admin, created_at)"
                    f" VALUES ('key-{name}', '{name}', '{name}', 'sk-', {admin}, 0)"
                )
            )
    engine.dispose()
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
async def records(database_url: str) -> AsyncIterator[Records]:
    records = Records(database_url)
    yield records
    await records.close()


async def test_an_upgrade_shares_what_exists_and_keys_keep_what_they_could_do(old_database: str) -> None:
    await asyncio.to_thread(upgrade, old_database)
    records = Records(old_database)
    try:
        with act_as(ALICE):
            file = await records.files.get("file-old")
        keys = {key.name: key.caller for key in await records.api_keys.all()}
    finally:
        await records.close()

    assert file.owner is None
    assert (keys["laptop"].owner, keys["laptop"].scopes) == ("laptop", USER_SCOPES)
    assert keys["ops"].scopes == ALL_SCOPES


async def test_a_file_exists_for_its_owner_and_for_admins(records: Records) -> None:
    with act_as(ALICE):
        file = await records.files.create(
            NewFileRecord(id="file-a", filename="a.wav", purpose="training", size_bytes=1, sha256="x")
        )

    for caller in (ALICE, ROOT, LOCAL):
        with act_as(caller):
            assert await records.files.get(file.id) == file
            assert (await records.files.page()).total == 1
    for caller in (BOB, ANONYMOUS):
        with act_as(caller):
            with pytest.raises(NotFound):
                await records.files.get(file.id)
            with pytest.raises(NotFound):
                await records.files.delete(file.id)
            assert (await records.files.page()).total == 0


def test_a_missing_scope_is_named() -> None:
    with pytest.raises(Forbidden, match="`admin` is needed for sharing a voice; this API key has read, speak, train"):
        ALICE.require(Scope.ADMIN, "sharing a voice")
