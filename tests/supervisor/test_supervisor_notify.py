"""What systemd hears."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from supervisor.notify import notify, watchdog_seconds


def test_nothing_is_sent_where_nobody_listens(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    assert notify("READY=1") is False


def test_the_service_manager_hears_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))

        assert notify("READY=1", "STATUS=Fine.")

        assert manager.recv(100) == b"READY=1\nSTATUS=Fine."


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [("30000000", str(os.getpid()), 15.0), ("30000000", "1", None), ("", "", None)],
    ids=["ours", "of another process", "none"],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_asks(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, pid: str, seconds: float | None
):
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", pid)

    assert watchdog_seconds() == seconds
