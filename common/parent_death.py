"""The tie of a child to its parent: the kernel kills it when its parent ends.

This module is also a program, the launcher `parent_death.py PARENT_PID COMMAND…`, which becomes the command. It imports
only the standard library.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
"""`prctl(2)`: the signal that a process gets when the thread that started it ends."""


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent, whose pid it names, ends; exit if it already has."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended between the fork and the call above
        os._exit(1)


def become(command: list[str]) -> NoReturn:
    """Replace this program by another; end with a sentence where that cannot be started."""
    try:
        os.execvp(command[0], command)  # noqa: S606  # a fixed list, never a shell
    except OSError as error:
        sys.exit(f"Cannot start {command[0]}: {error.strerror}.")


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    become(sys.argv[2:])
