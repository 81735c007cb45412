"""`main.py doctor --bundle`: everything that a bug report needs, and nothing that is secret; checks of the host."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from commands.bug_report import Scrubber, write_bundle
from commands.doctor import examine
from commands.host_checks import check_backups, check_clock, check_cuda_wheel, check_keys
from core.records import Records, upgrade
from core.redis_server import EmbeddedServer
from core.settings import REPOSITORY, read_settings
from recovery.backup.local_state import LocalState

SECRETS = {
    "VALID_API_KEYS": "sk-a-key-of-a-customer,another-key-1234",
    "ADMIN_API_KEYS": "the-admins-own-key",
    "DATABASE_URL": "postgresql://voice:pass-word-1@127.0.0.1:1/db",
    "REDIS_URL": "redis://:pass-word-2@127.0.0.1:1/0",
    "S3_SECRET_KEY": "pass-word-3",
    "MARK_KEY": "pass-word-4",
    "HOST": "127.0.0.1",
}


@pytest.mark.slow
def test_the_archive_holds_report_settings_packages_and_log_without_any_secret(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "service.log").write_text(
        "GET http://me:hunter22@10.1.2.3/x Authorization: Bearer abcdefghijklmnop\n"
        "anna@example.org called with sk-a-key-of-a-customer and eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln\n"
        "The job failed: no room.\n"
    )
    target = tmp_path / "report.tar.gz"

    answer = subprocess.run(
        [sys.executable, str(REPOSITORY / "main.py"), "doctor", "--bundle", str(target)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DATA_PATH": str(tmp_path / "data"), **SECRETS},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    assert "Look through it before you send it." in answer.stdout
    assert target.stat().st_mode & 0o077 == 0
    with tarfile.open(target) as archive:
        names = archive.getnames()
        texts = {name: archive.extractfile(name).read().decode() for name in names}  # type: ignore[union-attr]
    everything = "\n".join(texts.values())
    assert {
        f"sovitsd-report/{name}" for name in ("doctor.txt", "settings.txt", "packages.txt", "logs/service.log")
    } <= set(names)
    for value in (
        *SECRETS.values(),
        "hunter22",
        "pass-word",
        "abcdefghijklmnop",
        "anna@",
        "eyJ",
        "10.1.2.3",
        "another-key",
    ):
        if value != "127.0.0.1":
            assert value not in everything, value
    assert str(tmp_path) not in everything
    assert "The job failed: no room." in texts["sovitsd-report/logs/service.log"]
    assert "HOST=127.0.0.1" in texts["sovitsd-report/settings.txt"]
    assert "VALID_API_KEYS=(hidden)" in texts["sovitsd-report/settings.txt"]
    assert "fastapi==" in texts["sovitsd-report/packages.txt"].lower()


def test_an_archive_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path):
    settings = read_settings(data_path=tmp_path)
    report = examine(settings, gpus=())

    with pytest.raises(Exception, match="cannot be written"):
        write_bundle(tmp_path / "no folder" / "report.tar.gz", report, settings)

    assert [path.name for path in tmp_path.iterdir() if "report" in path.name] == []


def test_what_is_no_secret_stays(tmp_path):
    scrub = Scrubber(read_settings(data_path=tmp_path))

    assert scrub("[2027-01-01T00:00:00.000Z] [INFO] [core] [42] 127.0.0.1:9880 v1.2.3") == (
        "[2027-01-01T00:00:00.000Z] [INFO] [core] [42] 127.0.0.1:9880 v1.2.3"
    )


async def make_keys(url: str) -> None:
    from core.records.database import Database

    records = Records(url) if isinstance(url, str) else Records(Database(url))
    await records.api_keys.create("soon", expires_at=time.time() + 3600)
    _, _ = await records.api_keys.create("long")
    await records.close()


def test_keys_are_counted_and_one_that_ends_soon_is_named(tmp_path):
    import asyncio

    settings = read_settings(data_path=tmp_path)
    assert check_keys(settings).lines == ["none: requests need no key"]
    upgrade(settings.resolved_database_url)
    asyncio.run(make_keys(settings.resolved_database_url))

    check = check_keys(settings)

    assert check.lines == ["2 valid of 2 that were made by `main.py keys`"]
    assert [line.partition(",")[0] for line in check.advice] == ["a key in place of 'soon'"]


def torch_folder(folder: Path, cuda: str) -> Path:
    folder.mkdir()
    (folder / "version.py").write_text(f"__version__ = '2.13.0'\ncuda: Optional[str] = {cuda}\nhip = None\n")
    return folder


@pytest.mark.parametrize(
    ("cuda", "driver", "gpus", "missing"),
    [
        ("'12.8'", "12.4", 1, ""),
        ("'13.0'", "12.4", 1, "a driver for CUDA 13.0"),
        ("None", "12.4", 1, "a torch with CUDA"),
        ("None", "", 0, ""),
    ],
)
def test_the_wheel_of_torch_is_compared_with_the_driver(tmp_path, cuda, driver, gpus, missing):
    check = check_cuda_wheel(driver, gpus, torch_folder(tmp_path / "torch", cuda))

    assert [line.startswith(missing) for line in check.missing] == ([True] if missing else [])


def test_the_clock_is_compared_with_that_of_redis(tmp_path):
    server = EmbeddedServer(tmp_path / "redis")
    server.start()
    try:
        check = check_clock(read_settings(data_path=tmp_path, redis_url=server.url))
    finally:
        server.stop()

    assert check.lines[0].startswith(("differs by +0.", "differs by -0."))
    assert check.missing == []


def test_the_age_of_the_newest_backup_is_told_and_an_old_one_is_missing(tmp_path):
    settings = read_settings(data_path=tmp_path, backup_url=str(tmp_path / "backups"))
    state = LocalState.of(settings)
    none = check_backups(settings)
    state.change_status(name="gpt-sovits-backup-1", created_at=time.time() - 7200)
    fresh = check_backups(settings)
    state.change_status(created_at=time.time() - 30 * 3600, failed_at=time.time(), error="no room")
    old = check_backups(settings)

    assert none.lines == ["none was made yet"]
    assert fresh.lines == ["gpt-sovits-backup-1, 2.0 h old"]
    assert fresh.missing == []
    assert [line.partition(":")[0] for line in old.missing] == ["a backup of the last day", "a backup that succeeds"]
