"""The tie of a child to its parent: on Linux the kernel kills it when its parent ends, elsewhere a watcher does.

This module is also a program, the launcher `parent_death.py PARENT_PID COMMAND…`, which becomes the command. It imports
only the standard library.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
"""`prctl(2)`: the signal that a process gets when the thread that started it ends."""
_WATCH_SECONDS = 0.2
"""Between two looks at processes, where the system does not say when one ends."""


def die_with_parent(parent_pid: int) -> None:
    """Have this process killed when its parent, whose pid it names, ends; exit if it already has.

    It stays so for the program that this process becomes. Not for Windows, where jobs do it.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        _start_watcher(parent_pid, os.getpid())
    if os.getppid() != parent_pid:  # it ended between the fork and the call above
        os._exit(1)


def _start_watcher(parent_pid: int, child_pid: int) -> None:
    """Start a process that kills the child, and the group that it leads, when the parent ends before it."""
    assert sys.platform != "win32", "it ends children by jobs"
    if os.fork():
        os.wait()  # the first child ends at once, so that the watcher is nobody's child
        return
    if os.fork():
        os._exit(0)
    os.setsid()
    os.closerange(0, 65536)  # it holds neither pipes nor locks of the child
    _wait_for_end(parent_pid, child_pid)
    if _runs(child_pid):
        for kill in (os.killpg, os.kill):
            try:
                kill(child_pid, signal.SIGKILL)
            except OSError:
                continue
    os._exit(0)


def _wait_for_end(*pids: int) -> None:
    """Wait until one of the processes has ended."""
    if sys.platform == "darwin" and hasattr(select, "kqueue"):
        events = [
            select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ONESHOT, select.KQ_NOTE_EXIT)
            for pid in pids
        ]
        try:
            select.kqueue().control(events, 1)
        except OSError:  # one has ended already
            return
    else:
        while all(map(_runs, pids)):
            time.sleep(_WATCH_SECONDS)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def become(command: list[str]) -> NoReturn:
    """Replace this program by another; end with a sentence where that cannot be started."""
    try:
        os.execvp(command[0], command)  # noqa: S606  # a fixed list, never a shell
    except OSError as error:
        sys.exit(f"Cannot start {command[0]}: {error.strerror}.")


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    become(sys.argv[2:])
