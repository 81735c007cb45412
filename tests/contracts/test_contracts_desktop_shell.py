"""The desktop shell's process manager, a program of node, against the real server."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from process_end import wait_for_end

REPOSITORY = Path(__file__).resolve().parents[2]
SHELL = Path(__file__).with_name("desktop_shell.mjs")
SECONDS = 120

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
]


def run_shell(data: Path, mode: str) -> dict[str, Any]:
    """Run the shell in one of its modes on a folder that does not exist yet, and return what it met."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["node", str(SHELL), str(REPOSITORY / "scripts" / "gpt-sovits-api"), str(data), str(port), mode]
    done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    result: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, result
    assert result["stdout"] == f"Uvicorn running on http://127.0.0.1:{port}\n"
    return result


def test_the_shell_starts_asks_and_stops_the_server(tmp_path: Path) -> None:
    data = tmp_path / "user data" / "training-data"

    result = run_shell(data, "stop")

    assert result["health"] == [200, 200, 200]  # at both loopback addresses, and by the name
    assert result["mode"] is True
    assert result["ended"] == {"code": 0, "signal": None}
    assert (data / "sovitsd.sqlite3").is_file()
    assert not (data / "redis" / "redis.json").exists()  # the queue ended in order
    assert not (data / "run" / "api.json").exists()


def test_a_shell_that_is_killed_leaves_no_server_behind(tmp_path: Path) -> None:
    result = run_shell(tmp_path / "data", "vanish")

    assert wait_for_end(result["pid"], seconds=60)

    assert not (tmp_path / "data" / "redis" / "redis.json").exists()


def test_a_shell_that_closes_its_pipes_stops_the_server_as_well(tmp_path: Path) -> None:
    result = run_shell(tmp_path / "data", "deaf")

    assert result["health"] == [200, 200, 200]
    assert result["ended"] == {"code": 0, "signal": None}
