"""Child processes that cannot outlive their parent, die as a group, and share the cores."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, Any

from common.operating_system import signal_group
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


def stop_group(process: subprocess.Popen[bytes], *, grace_seconds: float) -> int:
    """Send SIGTERM to the child's group, SIGKILL when it has not ended in time; return its exit code.

    The group is killed in any case, so that nothing the child started stays behind.
    """
    if process.poll() is None:
        signal_group(process.pid, signal.SIGTERM)
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            signal_group(process.pid)
    signal_group(process.pid)
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
