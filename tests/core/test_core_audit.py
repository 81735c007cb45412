"""The audit log as a file: private, bounded, appended to by several processes."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pytest

from core.audit import AuditEntry, AuditFilter, AuditLog


def entry(number: int, **changes: object) -> AuditEntry:
    fields: dict[str, object] = {
        "time": "2026-01-01T00:00:00.000Z",
        "request_id": f"req-{number}",
        "caller": "key-1",
        "address": "127.0.0.1",
        "method": "POST",
        "path": "/api/v1/tasks",
        "status": 201,
        "result": "done",
    }
    return AuditEntry(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit" / "audit.jsonl")


def test_entries_are_read_newest_first_and_only_by_the_user(log: AuditLog) -> None:
    for number in range(3):
        log.append(entry(number))

    assert [item.request_id for item in log.entries()] == ["req-2", "req-1", "req-0"]
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("entry_filter", "numbers"),
    [
        (AuditFilter(caller="key-2"), [1]),
        (AuditFilter(address="192.0.2.1"), [2]),
        (AuditFilter(method="delete"), [3]),
        (AuditFilter(path="/api/v1/voices"), [4]),
        (AuditFilter(request_id="req-0"), [0]),
        (AuditFilter(result="rejected"), [5]),
        (AuditFilter(status=401), [5]),
        (AuditFilter(), [5, 4, 3, 2, 1, 0]),
    ],
)
def test_entries_are_filtered(log: AuditLog, entry_filter: AuditFilter, numbers: list[int]) -> None:
    log.append(entry(0))
    log.append(entry(1, caller="key-2"))
    log.append(entry(2, address="192.0.2.1"))
    log.append(entry(3, method="DELETE"))
    log.append(entry(4, path="/api/v1/voices/x"))
    log.append(entry(5, status=401, result="rejected"))

    assert [item.request_id for item in log.entries(entry_filter)] == [f"req-{number}" for number in numbers]


def test_a_full_file_is_rotated_and_the_oldest_deleted(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl", max_bytes=1000, kept_files=3)

    for number in range(60):
        log.append(entry(number))

    files = sorted(tmp_path.glob("audit.jsonl*"))
    kept = [item.request_id for item in log.entries()]
    assert [file.name for file in files] == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert all(file.stat().st_size <= 1000 for file in files)
    assert kept == [f"req-{number}" for number in range(59, 59 - len(kept), -1)]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def append_many(path: Path, first: int) -> None:
    log = AuditLog(path, max_bytes=20_000, kept_files=20)
    for number in range(first, first + 300):
        log.append(entry(number))


def test_processes_that_append_and_rotate_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    path = tmp_path / "audit.jsonl"
    processes = [context.Process(target=append_many, args=(path, first)) for first in (0, 300, 600)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    ids = {item.request_id for item in AuditLog(path, kept_files=20).entries()}
    assert ids == {f"req-{number}" for number in range(900)}


def test_an_entry_is_kept_that_comes_between_the_renaming_of_a_full_file_and_the_next_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(tmp_path / "audit.jsonl", max_bytes=1)
    log.append(entry(0))

    def rotated_by_another_process(descriptor: int) -> None:
        log.path.rename(log.path.with_name("audit.jsonl.1"))

    monkeypatch.setattr("core.audit.lock_file", rotated_by_another_process)
    log.append(entry(1))

    assert [item.request_id for item in log.entries()] == ["req-1", "req-0"]


def test_half_a_line_is_passed_over(log: AuditLog) -> None:
    log.append(entry(0))
    with log.path.open("ab") as file:
        file.write(b'{"time": "20\n')
    log.append(entry(1))

    assert [item.request_id for item in log.entries()] == ["req-1", "req-0"]


def test_a_log_that_cannot_be_written_fails_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "audit").write_text("a file where the folder should be")
    log = AuditLog(tmp_path / "audit" / "audit.jsonl")

    log.append(entry(0))
    log.append(entry(1))

    assert caplog.text.count("cannot be written") == 1
