"""Names of backups, files in a manifest, parts of files and the daily schedule."""

from __future__ import annotations

import re
import time
from datetime import datetime

import pytest
from pydantic import ValidationError

from core.errors import InvalidRequest
from recovery.backup.manifest import FileEntry
from recovery.backup.names import backup_name, check_backup_name
from recovery.backup.objects import PART_BYTES, even_parts
from supervisor.backups import last_due


def test_a_backup_is_named_by_its_local_time():
    at = time.mktime((2026, 11, 30, 2, 0, 5, 0, 0, -1))

    assert backup_name(at) == "gpt-sovits-backup-20261130-020005.tar.gz"
    assert re.fullmatch(r"gpt-sovits-backup-\d{8}-\d{6}\.tar\.gz", backup_name(time.time()))


def test_the_ending_of_a_name_may_be_left_out_and_no_other_name_is_accepted():
    assert check_backup_name("gpt-sovits-backup-20261130-020005") == "gpt-sovits-backup-20261130-020005.tar.gz"
    for name in ("../x", "backup", "gpt-sovits-backup-2026-1.tar.gz", ""):
        with pytest.raises(InvalidRequest, match="no name of a backup"):
            check_backup_name(name)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "storage/../x",
        "storage",
        "storage//a",
        "other/file",
        "storage/a\x00b",
        "models/./a",
        "storage/a\\b",
    ],
)
def test_no_file_of_a_manifest_lies_outside_of_the_data_folder(path: str):
    with pytest.raises(ValidationError):
        FileEntry(path=path, size=0, sha256="0" * 64, parts=[])


def test_parts_are_even_whatever_chunks_a_file_comes_in():
    content = bytes(range(256)) * (PART_BYTES // 256) + b"rest"

    parts = list(even_parts([content[:3], content[3:-1], content[-1:]]))

    assert [len(part) for part in parts] == [PART_BYTES, 4]
    assert b"".join(parts) == content
    assert list(even_parts([])) == []


def test_a_daily_backup_is_due_at_its_time_and_a_missed_one_since_then():
    assert last_due("02:00", datetime(2026, 11, 30, 2, 0)) == datetime(2026, 11, 30, 2, 0).timestamp()
    assert last_due("02:00", datetime(2026, 11, 30, 1, 59)) == datetime(2026, 11, 29, 2, 0).timestamp()
    assert last_due("02:00", datetime(2026, 11, 30, 23, 0)) == datetime(2026, 11, 30, 2, 0).timestamp()
