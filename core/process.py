"""Child processes that cannot outlive their parent, die as a group, and share the cores."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, Any

from common.programs import bound_command as bound_command

_THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


def start_child(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: int | IO[Any] | None = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in its own process group; the kernel kills it when the calling thread ends.

    Call it from a thread that lives as long as the child should: on Linux it is that thread, not the
    process, whose end kills the child.
    """
    return subprocess.Popen(
        bound_command(command),
        env=env,
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def signal_group(pid: int, signal_number: int = signal.SIGKILL) -> bool:
    """Signal the process group that `pid` leads; return False when nobody is left in it."""
    try:
        os.killpg(pid, signal_number)
    except (ProcessLookupError, PermissionError):
        # No process is left, or (macOS) only zombies are.
        return False
    return True


def stop_group(process: subprocess.Popen[bytes], *, grace_seconds: float) -> int:
    """Send SIGTERM to the child's group, SIGKILL when it has not ended in time; return its exit code.

    The group is killed in any case, so that nothing the child started stays behind.
    """
    if process.poll() is None:
        signal_group(process.pid, signal.SIGTERM)
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            signal_group(process.pid, signal.SIGKILL)
    signal_group(process.pid, signal.SIGKILL)
    return process.wait()


def child_environment(*, threads: int, **more: str) -> dict[str, str]:
    """Return this process's environment for a child that may use `threads` cores, with `more` on top."""
    return {**os.environ, **thread_limits(threads), **more}


def thread_limits(threads: int) -> dict[str, str]:
    """Return environment variables that keep the numeric libraries of a child to `threads` cores."""
    limits = dict.fromkeys(_THREAD_SETTINGS, str(max(1, threads)))
    # Threads that wait for work must not spin: two busy processes on few cores would starve each other.
    limits["OMP_WAIT_POLICY"] = "PASSIVE"
    limits["TOKENIZERS_PARALLELISM"] = "false"
    return limits


def is_alive(pid: int, *, mark: str = "") -> bool:
    """Return whether a process runs under this pid; with `mark`, only one whose command line holds it.

    A pid comes again, a mark (a worker's nonce) does not. A zombie does not run.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            if stat.read().rpartition(b")")[2].split()[0] == b"Z":
                return False
        if not mark:
            return True
        with open(f"/proc/{pid}/cmdline", "rb") as command_line:
            return mark.encode() in command_line.read()
    except FileNotFoundError:
        return not os.path.isdir("/proc/self")  # gone meanwhile, or a system without /proc
    except ProcessLookupError:
        return False
