"""`main.py audit`: the newest entries, filtered, and followed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.audit import AuditEntry, AuditLog
from core.settings import Settings, read_settings
from main import main

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(data_path=tmp_path)


@pytest.fixture
def log(settings: Settings) -> AuditLog:
    return AuditLog.of(settings)


def entry(number: int, path: str = "/api/v1/tasks") -> AuditEntry:
    return AuditEntry(
        time="2026-01-01T00:00:00.000Z",
        request_id=f"req-{number}",
        caller="key-1",
        address="127.0.0.1",
        method="POST",
        path=path,
        status=201 if number % 2 else 403,
        result="done" if number % 2 else "rejected",
    )


def test_the_newest_entries_come_last(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        log.append(entry(number, f"/api/v1/x\x1b[2J\n{number}"))
    monkeypatch.setenv("DATA_PATH", str(tmp_path))
    run_with_fresh_settings("audit", "--lines", "2", "--result", "rejected")

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == ["req-2", "req-4"]
    assert "\\x1b[2J\\n2" in lines[0]


def test_entries_are_json_on_request(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.append(entry(1))
    monkeypatch.setenv("DATA_PATH", str(tmp_path))
    run_with_fresh_settings("audit", "--json")

    assert json.loads(capsys.readouterr().out)["request_id"] == "req-1"


def test_new_entries_are_followed_across_a_rotation(log: AuditLog, tmp_path: Path) -> None:
    log.append(entry(1))
    process = subprocess.Popen(
        [sys.executable, "main.py", "audit", "--follow"],
        cwd=REPOSITORY,
        env=os.environ | {"DATA_PATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().endswith("req-1\n")
        log.append(entry(2))
        assert process.stdout.readline().endswith("req-2\n")
        AuditLog(log.path, max_bytes=1).append(entry(3))
        assert process.stdout.readline().endswith("req-3\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def run_with_fresh_settings(*arguments: str) -> None:
    from core.settings import settings as current

    current.cache_clear()
    try:
        assert main(arguments) == 0
    finally:
        current.cache_clear()
