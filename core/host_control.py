"""How the API ends or restarts the daemon that it is a part of."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Final, Literal

from common.operating_system import USER_SIGNAL, signal_process
from core.errors import Conflict

HostCommand = Literal["restart", "exit"]
RESTART_SIGNAL: Final = USER_SIGNAL
"""Asks a supervisor to drain and then to start its program again, as the same process."""


def supervisor_lock(data_path: Path) -> Path:
    """Return the file that a supervisor locks; its process id is in it."""
    return data_path / "run" / "supervisor.lock"


def announcement_file(data_path: Path, index: int = 0) -> Path:
    """Return the file in which a process of the API says its address and its process id."""
    return data_path / "run" / (f"api-{index}.json" if index else "api.json")


def announced_pid(file: Path) -> int | None:
    """Return the process id that a process of the API wrote; None before it did."""
    try:
        return int(json.loads(file.read_bytes())["pid"])
    except (OSError, ValueError, KeyError):
        return None


def control_host(data_path: Path, command: HostCommand) -> None:
    """Signal the supervisor of this process; an API that runs by itself ends.

    Raises Conflict for a restart on a system that has no signal for it.
    """
    if command == "restart" and RESTART_SIGNAL is None:
        raise Conflict("On Windows the server cannot start itself again.", hint="Send `exit`, then start it.")
    supervisor = os.getppid()
    try:
        supervised = int(supervisor_lock(data_path).read_text()) == supervisor
    except (OSError, ValueError):
        supervised = False
    if supervised:
        signal_process(supervisor, RESTART_SIGNAL if command == "restart" else signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)
