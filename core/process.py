"""Child processes that cannot outlive their parent, die as a group, and share the cores."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

CANNOT_START = 3
"""Exit code of a worker whose role could not be started; its last line says why."""
RECYCLED = 4
"""Exit code of a worker that ended itself because its job would not stop: start another, nothing is wrong."""

GPUS = "SOVITSD_GPUS"
"""Environment variable in which the supervisor names the GPUs of the host to its workers: `0=<UUID>,1=<UUID>`."""

_PR_SET_PDEATHSIG = 1
"""`prctl(2)`: the signal that a process gets when the thread that started it ends."""

_LIBC = ctypes.CDLL(None, use_errno=True)  # looked up here, because a fork of a process with threads cannot

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


def bound_command(command: Sequence[str]) -> list[str]:
    """The same command behind a small launcher that ties its life to this process (same pid after exec).

    A launcher, because `preexec_fn` can deadlock in a process with threads and every worker has some.
    """
    if not sys.platform.startswith("linux"):
        return list(command)
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), str(os.getpid()), *command]


def die_with_parent(parent_pid: int = 0) -> None:
    """Have the kernel kill this process when its parent ends; with `parent_pid`, exit if it already has."""
    if not sys.platform.startswith("linux"):
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent_pid and os.getppid() != parent_pid:  # it ended between the fork and the call above
        os._exit(1)


def signal_group(pid: int, signal_number: int = signal.SIGKILL) -> bool:
    """Signal the process group that `pid` leads; whether there was anyone to hear it."""
    try:
        os.killpg(pid, signal_number)
    except (ProcessLookupError, PermissionError):
        # Nobody left, or (macOS) only zombies left.
        return False
    return True


def stop_group(process: subprocess.Popen[bytes], *, grace_seconds: float) -> int:
    """SIGTERM to the child's group, SIGKILL when it is not gone in time; its exit code.

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
    """This process's environment for a child that may use so many cores, with `more` on top."""
    return {**os.environ, **thread_limits(threads), **more}


def thread_limits(threads: int) -> dict[str, str]:
    """Environment that keeps the number libraries of a child to `threads` cores."""
    limits = dict.fromkeys(_THREAD_SETTINGS, str(max(1, threads)))
    # Threads that wait for work must not spin: two busy processes on few cores would starve each other.
    limits["OMP_WAIT_POLICY"] = "PASSIVE"
    limits["TOKENIZERS_PARALLELISM"] = "false"
    return limits


def prepare_worker(device: str, niceness: int) -> None:
    """Make this process one of a device: call it before anything loads CUDA."""
    if niceness > 0:
        os.nice(niceness)
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif device.startswith("cuda:"):
        os.environ["CUDA_VISIBLE_DEVICES"] = device.removeprefix("cuda:")


def name_device(device: str) -> str:
    """`cpu` or `cuda:N` for a worker's device, which may name a GPU by its UUID; N as the driver numbers them."""
    kind, _, name = device.partition(":")
    if kind != "cuda" or name.isdecimal():
        return device
    pairs = (pair.partition("=") for pair in os.environ.get(GPUS, "").split(","))
    return f"cuda:{next((index for index, _, uuid in pairs if name and uuid == name), '0')}"


def new_worker_id(role: str, nonce: str = "") -> str:
    """`role-host-pid-nonce` of this process: an id that never comes again."""
    return worker_id_of(role, os.getpid(), nonce or os.urandom(4).hex())


def worker_id_of(role: str, pid: int, nonce: str) -> str:
    """The id of the worker that runs on this host under that pid and was given that nonce."""
    return f"{role}-{os.uname().nodename}-{pid}-{nonce}"


def is_alive(pid: int, *, mark: str = "") -> bool:
    """Whether a process runs under this pid; with `mark`, only one whose command line holds it.

    A pid comes again, a mark (a worker's nonce) does not. Zombies do not run.
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


def _launch(arguments: Sequence[str]) -> None:
    """What the launcher does: `process.py PARENT_PID COMMAND...`."""
    die_with_parent(int(arguments[0]))
    try:
        os.execvp(arguments[1], list(arguments[1:]))  # noqa: S606  # a fixed list, never a shell
    except OSError as error:
        sys.exit(f"Cannot start {arguments[1]}: {error.strerror}.")


if __name__ == "__main__":
    _launch(sys.argv[1:])
