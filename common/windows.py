"""The part of Windows that Python's library does not offer: locks of files, and jobs that end and limit processes."""

from __future__ import annotations

import ctypes
import msvcrt
import sys
from ctypes import wintypes
from functools import cache
from typing import Any, Final

import psutil

assert sys.platform == "win32", "operating_system imports it there only"

MAX_OPEN_FILES: Final = 8192
"""What the C library of Windows allows at most."""
_LOCKED_BYTE: Final = 1 << 30
"""In the upper half of the offset: beyond every file, because a locked byte can be read by its holder alone."""
_FAIL_IMMEDIATELY, _EXCLUSIVE = 1, 2
_HELD_BY_ANOTHER: Final = (33, 997)
"""ERROR_LOCK_VIOLATION, ERROR_IO_PENDING."""
_EXTENDED_LIMITS: Final = 9
_PROCESS_TIME, _PROCESS_MEMORY, _KILL_ON_CLOSE = 0x2, 0x100, 0x2000
_TICKS_PER_SECOND: Final = 10_000_000


class _Overlapped(ctypes.Structure):
    _fields_ = (
        ("internal", ctypes.c_void_p),
        ("internal_high", ctypes.c_void_p),
        ("offset", wintypes.DWORD),
        ("offset_high", wintypes.DWORD),
        ("event", wintypes.HANDLE),
    )


class _JobLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("process_time", ctypes.c_int64),
        ("job_time", ctypes.c_int64),
        ("flags", wintypes.DWORD),
        ("minimum_working_set", ctypes.c_size_t),
        ("maximum_working_set", ctypes.c_size_t),
        ("active_processes", wintypes.DWORD),
        ("affinity", ctypes.c_size_t),
        ("priority_class", wintypes.DWORD),
        ("scheduling_class", wintypes.DWORD),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


@cache
def _kernel() -> Any:
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    for name in ("CreateJobObjectW", "GetCurrentProcess"):
        getattr(kernel, name).restype = wintypes.HANDLE
    kernel.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
    kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    kernel.LockFileEx.argtypes = (wintypes.HANDLE, *(wintypes.DWORD,) * 4, ctypes.c_void_p)
    return kernel


def lock_file(descriptor: int, *, shared: bool, wait: bool) -> None:
    """Lock a file until it is closed; raise BlockingIOError when another process holds it, unless `wait`."""
    place = _Overlapped(offset_high=_LOCKED_BYTE)
    flags = (0 if shared else _EXCLUSIVE) | (0 if wait else _FAIL_IMMEDIATELY)
    if not _kernel().LockFileEx(msvcrt.get_osfhandle(descriptor), flags, 0, 1, 0, ctypes.byref(place)):
        error = ctypes.get_last_error()
        if error in _HELD_BY_ANOTHER:
            raise BlockingIOError(error, "another process holds the lock")
        raise ctypes.WinError(error)


@cache
def tie_children() -> int:
    """Put this process into a job that ends with it, and so does all that it starts; return the job's handle."""
    return _join_job(_JobLimits(flags=_KILL_ON_CLOSE))


def limit_process(memory_bytes: int | None, cpu_seconds: int) -> None:
    """Limit memory and processor time of this process."""
    flags = _PROCESS_TIME | (_PROCESS_MEMORY if memory_bytes is not None else 0)
    limits = _JobLimits(process_time=cpu_seconds * _TICKS_PER_SECOND, flags=flags, process_memory=memory_bytes or 0)
    _join_job(limits)


def _join_job(limits: _JobLimits) -> int:
    kernel = _kernel()
    job = kernel.CreateJobObjectW(None, None)
    if not (
        job
        and kernel.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
        and kernel.AssignProcessToJobObject(job, kernel.GetCurrentProcess())
    ):
        raise ctypes.WinError(ctypes.get_last_error())
    return int(job)


def end_tree(pid: int) -> bool:
    """End a process and what it has started; return False when it does not run."""
    try:
        process = psutil.Process(pid)
        tree = [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return False
    for member in tree:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    return True


def lower_priority() -> None:
    """Let other processes compute first."""
    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
