"""Whether a step of `scripts/train-base` runs, for `pause` and `resume`, and for benchmarks, which it would disturb."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FILE: Final = Path(tempfile.gettempdir()) / f"sovitsd-train-base-{os.getuid()}"
"""Holds the pid of the step that runs, and is locked as long as it does; one for all checkouts of a user."""


@contextmanager
def running() -> Iterator[None]:
    """Be the step that runs. Raises SystemExit where there is one."""
    with FILE.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"Process {running_pid()} trains the base already; `scripts/train-base pause` stops it."
            raise SystemExit(message) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def running_pid() -> int | None:
    """Return the process of the step that runs, paused or not."""
    try:
        with FILE.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int(FILE.read_text() or 0) or None
    return None


def pause(_: object = None) -> None:
    """Stop the step that runs, and what it has started, where they are."""
    _signal_all(signal.SIGSTOP)


def resume(_: object = None) -> None:
    """Let a paused step go on."""
    _signal_all(signal.SIGCONT)


def is_paused(pid: int) -> bool:
    """Return whether a process was stopped by a signal."""
    return _stat(pid)[0] == "T"


def _signal_all(number: signal.Signals) -> None:
    pid = running_pid()
    if pid is None:
        raise SystemExit("No step of scripts/train-base runs.")
    family = [pid]
    for member in family:  # grows by the children of each
        family += [child for child in _processes() if _parent(child) == member]
    for member in family:
        os.kill(member, number)


def _processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    """Return the fields behind a process's name: its state, its parent, …; of none once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X", "0"]


if __name__ == "__main__":  # for scripts/bench
    pid = running_pid()
    if pid is not None and not is_paused(pid):
        sys.exit(f"Process {pid} trains the base on this machine; `scripts/train-base pause` first.")
