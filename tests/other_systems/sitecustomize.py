"""Makes a Python process believe that it runs on another system, PRETENDED_SYSTEM: `darwin` or `win32`.

What the library and the packages choose by the system they have chosen before; then what only Linux, or only POSIX, has
is taken away, and Windows' own functions are given stand-ins, so that it is our code that meets them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
import types
from importlib import import_module
from typing import Any

SYSTEM = os.environ.get("PRETENDED_SYSTEM", "")
MORE_THAT_CHOOSE = os.environ.get("PRETENDED_SYSTEM_KNOWN_TO", "").split()
"""Packages that take long to load, where all are loaded."""
LINUX_ONLY = ((os, "sched_getaffinity"), (os, "pidfd_open"), (time, "CLOCK_BOOTTIME"))
POSIX_ONLY = (
    *((os, name) for name in ("killpg", "uname", "nice", "getuid", "geteuid", "sysconf", "statvfs", "setsid", "fork")),
    *((os, name) for name in ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW")),
    *((signal, name) for name in ("SIGUSR1", "SIGUSR2", "SIGHUP")),
    *((socket, name) for name in ("SO_REUSEPORT", "SOCK_CLOEXEC")),
)
CHOOSE_BY_THE_SYSTEM = (
    *("multiprocessing.connection", "shutil", "tempfile", "urllib.request", "uuid", "zoneinfo"),
    *("alembic.config", "cryptography", "fastapi", "filelock", "httpx", "numpy"),
    *("prometheus_client", "psutil", "pydantic_settings", "redis.asyncio", "rich.console", "soundfile"),
    *("sqlalchemy.ext.asyncio", "uvicorn", "websockets"),
)
POSIX_MODULES = ("fcntl", "resource", "pwd", "grp", "termios")


class Kernel:
    """Windows' kernel32, as far as the product calls it."""

    def __init__(self, *_arguments: object, **_options: object) -> None:
        self.CreateJobObjectW = self.GetCurrentProcess = self.SetInformationJobObject = Function(lambda *_: 7)
        self.AssignProcessToJobObject = Function(lambda *_: 1)
        self.LockFileEx = Function(self._lock)

    def _lock(self, handle: int, flags: int, *_place: object) -> int:
        operation = fcntl.LOCK_EX if flags & 2 else fcntl.LOCK_SH
        try:
            fcntl.flock(handle, operation | (fcntl.LOCK_NB if flags & 1 else 0))
        except BlockingIOError:
            return 0
        return 1


class Function:
    """A function of a library, which ctypes lets have types."""

    def __init__(self, call: Any) -> None:
        self.call = call

    def __call__(self, *arguments: object) -> int:
        return int(self.call(*arguments))


def reject_signal_handler(*_arguments: object) -> None:
    """Do what the event loops of Windows do."""
    raise NotImplementedError


if SYSTEM:
    import asyncio.unix_events
    import fcntl
    import sysconfig

    for name in (*CHOOSE_BY_THE_SYSTEM, *MORE_THAT_CHOOSE):
        import_module(name)
    sysconfig.get_config_vars()
    for module, name in LINUX_ONLY:
        delattr(module, name)
    if SYSTEM == "win32":
        for module, name in POSIX_ONLY:
            delattr(module, name)
        for name in POSIX_MODULES:
            sys.modules[name] = None  # type: ignore[assignment]
        sys.modules["msvcrt"] = types.ModuleType("msvcrt")
        for owner, name, stand_in in (
            (ctypes, "WinDLL", Kernel),
            (ctypes, "get_last_error", lambda: 33),
            (ctypes, "WinError", OSError),
            (sys.modules["msvcrt"], "get_osfhandle", lambda descriptor: descriptor),
            (asyncio.unix_events._UnixSelectorEventLoop, "add_signal_handler", reject_signal_handler),
            (asyncio, "ProactorEventLoop", asyncio.SelectorEventLoop),
            (sys.modules["psutil"], "BELOW_NORMAL_PRIORITY_CLASS", 10),
        ):
            setattr(owner, name, stand_in)
    sys.platform = SYSTEM
