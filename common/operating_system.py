"""What operating systems do differently: locks, signals, limits, groups of processes, memory.

The service is made for Linux. macOS has no parent-death signal and no /proc, Windows has no signals, no process groups
and no embedded queue server either; where they lack something, psutil or Windows itself takes its place. The tie of a
child to its parent is in `parent_death`, which is a program as well.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

if sys.platform == "win32":
    from common import windows
else:
    import fcntl
    import resource

_MIB: Final = 1 << 20
IS_LINUX: Final = sys.platform.startswith("linux")
KILL_SIGNAL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)
"""Ends a process whatever it does; on Windows any signal does."""
USER_SIGNAL: Final[signal.Signals | None] = getattr(signal, "SIGUSR1", None)
"""Asks a process for what it defines; None on Windows, where nothing can be asked so."""


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What a process may use before it is ended, or gets an error."""

    cpu_seconds: int
    file_bytes: int
    open_files: int
    memory_bytes: int | None
    """Address space; None: no limit. macOS does not enforce it."""


def host_name() -> str:
    """Return the name of this host."""
    return platform.node()


def lock_file(file: int | IO[bytes] | IO[str], *, shared: bool = False, wait: bool = True) -> None:
    """Lock an open file or folder until it is closed; the system releases the lock of a process that dies.

    Raises BlockingIOError when another process holds it, unless `wait`.
    """
    descriptor = file if isinstance(file, int) else file.fileno()
    if sys.platform == "win32":
        windows.lock_file(descriptor, shared=shared, wait=wait)
    else:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))


def open_folder_lock(folder: Path) -> int:
    """Return a descriptor by which a folder can be locked; raise FileNotFoundError where there is none."""
    if sys.platform == "win32":  # it opens no folders
        return os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    return os.open(folder, os.O_RDONLY)


@contextmanager
def folder_by_handle(folder: Path) -> Iterator[Path | None]:
    """Yield a path that leads to a folder wherever it is renamed to; None where the system has no such path."""
    if sys.platform == "linux":
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            path = Path(f"/proc/self/fd/{handle}")
            yield path if path.exists() else None
        finally:
            os.close(handle)
    else:
        yield None


def handle_signal(number: signal.Signals | None, action: Callable[[], object]) -> None:
    """Have the running event loop call `action` at a signal; None is no signal of this system."""
    if number is None:
        return
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, action)
    except NotImplementedError:  # Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(action))


def signal_process(pid: int, number: signal.Signals | None) -> None:
    """Send a signal to a process, if it runs; None is no signal of this system."""
    if number is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def signal_group(pid: int, number: signal.Signals = KILL_SIGNAL) -> bool:
    """Signal the process group that `pid` leads, on Windows what it has started; return False when nobody is left."""
    if sys.platform == "win32":
        return windows.end_tree(pid)
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        # No process is left, or (macOS) only zombies are.
        return False
    return True


def is_alive(pid: int, *, mark: str = "") -> bool:
    """Return whether a process runs under this pid; with `mark`, only one whose command line holds it.

    A pid comes again, a mark (a worker's nonce) does not. A zombie does not run.
    """
    if not IS_LINUX:
        import psutil

        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return not mark or any(mark in argument for argument in process.cmdline())
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
        if state == b"Z":
            return False
        return not mark or mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent_is_alive(parent: int) -> bool:
    """Return whether the process that was this one's parent still is; Windows never says another one."""
    return os.getppid() == parent and (sys.platform != "win32" or is_alive(parent))


def bind_children() -> bool:
    """Have what this process starts end with it; return False where each child binds itself, by `parent_death`."""
    if sys.platform == "win32":
        windows.tie_children()
        return True
    else:
        return False


def lower_priority(niceness: int) -> None:
    """Let other processes compute first."""
    if sys.platform == "win32":
        windows.lower_priority()
    else:
        os.nice(niceness)


def limit_process(limits: ProcessLimits) -> None:
    """Limit what this process may use, as far as the system can."""
    if sys.platform == "win32":
        windows.limit_process(limits.memory_bytes, limits.cpu_seconds)
    else:
        values = {
            resource.RLIMIT_CPU: limits.cpu_seconds,
            resource.RLIMIT_FSIZE: limits.file_bytes,
            resource.RLIMIT_NOFILE: limits.open_files,
            resource.RLIMIT_CORE: 0,
        }
        if IS_LINUX and limits.memory_bytes is not None:
            values[resource.RLIMIT_AS] = limits.memory_bytes
        for limit, value in values.items():
            _, hard = resource.getrlimit(limit)
            most = float("inf") if hard == resource.RLIM_INFINITY else hard
            # At both limits of processor time at once the signal would be SIGKILL, which others send, too.
            spare = 1 if limit == resource.RLIMIT_CPU else 0
            lowered = int(min(value, most - spare))
            resource.setrlimit(limit, (lowered, lowered + spare))


def raise_file_limit() -> int:
    """Raise this process's limit of open files as far as it may, and return it."""
    if sys.platform == "win32":
        return windows.MAX_OPEN_FILES
    else:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            with suppress(ValueError):  # macOS has another limit below "unlimited"
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard if hard != resource.RLIM_INFINITY else 1 << 20


def open_files() -> int:
    """Return how many files this process has open."""
    if IS_LINUX:
        return len(os.listdir("/proc/self/fd"))
    import psutil

    process = psutil.Process()
    return int(process.num_handles() if sys.platform == "win32" else process.num_fds())


def free_memory_mb(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the MiB that can be allocated without swapping."""
    if IS_LINUX:
        lines = meminfo.read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:"))
    import psutil

    return int(psutil.virtual_memory().available) // _MIB


def installed_memory_mb() -> int:
    """Return the MiB of memory of this host."""
    if sys.platform != "win32":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB
    import psutil

    return int(psutil.virtual_memory().total) // _MIB


def resident_memory_mb() -> float:
    """Return the resident memory of this process in MiB."""
    if IS_LINUX:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))
    import psutil

    return float(psutil.Process().memory_info().rss / _MIB)


def processor_name() -> str:
    """Return the model of the processor; empty where the system does not say."""
    if not IS_LINUX:
        return platform.processor()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return ""


def boot_id() -> str:
    """Return what identifies the start of this host; empty where the system does not say."""
    if not IS_LINUX:
        import psutil

        return str(psutil.boot_time())
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
