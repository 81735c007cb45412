"""Secrets of webhooks in the database, before and after an upgrade."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from core.encryption import SecretBox
from core.net.fetch import Fetcher
from core.records import Records
from core.webhooks import WebhookService
from core.webhooks.stored_secrets import encrypt_stored_secrets

SECRET = "whsec_" + "A" * 44


@pytest.fixture
async def records(database_url: str) -> AsyncIterator[Records]:
    records = Records(database_url)
    yield records
    await records.close()


async def test_a_new_webhook_has_its_secret_encrypted_in_the_database(records: Records, tmp_path: Path):
    box = SecretBox(tmp_path / "secrets.key")
    service = WebhookService(records, Fetcher(max_bytes=0), box)

    webhook = await service.register("http://hooks.example/", secret=SECRET)

    stored = (await records.webhooks.secrets())[webhook.id]
    assert webhook.secret == SECRET
    assert SECRET not in stored
    assert box.decrypt(stored) == SECRET


async def test_secrets_of_an_earlier_version_are_encrypted_and_leave_no_trace_in_the_files(
    records: Records, tmp_path: Path
):
    box = SecretBox(tmp_path / "secrets.key")
    webhook = await records.webhooks.create("http://hooks.example/", ["task.failed"], SECRET)

    await encrypt_stored_secrets(records, box)
    first = await records.webhooks.secrets()
    await encrypt_stored_secrets(records, box)

    assert box.decrypt(first[webhook.id]) == SECRET
    assert await records.webhooks.secrets() == first, "a second run changes nothing"
    if records.database.url.startswith("sqlite"):
        path = Path(records.database.url.partition("///")[2])
        for file in path.parent.glob(f"{path.name}*"):
            assert SECRET.encode() not in file.read_bytes(), file


async def test_secrets_with_an_old_key_get_the_new_one(records: Records, tmp_path: Path):
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    file = tmp_path / "secrets.key"
    stored = SecretBox(file, [old]).encrypt(SECRET)
    webhook = await records.webhooks.create("http://hooks.example/", ["task.failed"], stored)

    await encrypt_stored_secrets(records, SecretBox(file, [new, old]))

    assert SecretBox(file, [new]).decrypt((await records.webhooks.secrets())[webhook.id]) == SECRET


async def test_a_lost_key_is_said_in_one_line_and_the_others_are_still_encrypted(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    lost = SecretBox(tmp_path / "secrets.key", [Fernet.generate_key().decode()]).encrypt(SECRET)
    for secret in (lost, lost, SECRET):
        await records.webhooks.create("http://hooks.example/", ["task.failed"], secret)
    box = SecretBox(tmp_path / "other.key", [Fernet.generate_key().decode()])

    await encrypt_stored_secrets(records, box)

    stored = list((await records.webhooks.secrets()).values())
    assert stored.count(lost) == 2
    assert sum(box.is_current(value) for value in stored) == 1
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "another key" in line
    assert lost not in line


async def test_without_a_key_for_all_hosts_secrets_stay_and_a_warning_says_so(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    await records.webhooks.create("http://hooks.example/", ["task.failed"], SECRET)

    await encrypt_stored_secrets(records, SecretBox(tmp_path / "secrets.key", may_create=False))

    assert list((await records.webhooks.secrets()).values()) == [SECRET]
    assert "set the same SECRETS_KEY on every host" in caplog.text
    assert SECRET not in caplog.text
