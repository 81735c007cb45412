"""Memory of this host and of this process."""

from __future__ import annotations

import os
from pathlib import Path

from common.operating_system import free_memory_mb, installed_memory_mb

_MIB = 1 << 20


def available_memory_mb(cgroup: Path = Path("/sys/fs/cgroup"), meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the MiB that can be allocated without swapping, cut to what the container's limit leaves."""
    available = free_memory_mb(meminfo)
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # no cgroup, or "max"
        return available
    return max(0, min(available, (limit - used) // _MIB))


def total_memory_mb(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the MiB of memory of this host, or of its container."""
    total = installed_memory_mb()
    try:
        return min(total, int((cgroup / "memory.max").read_text()) // _MIB)
    except (OSError, ValueError):  # no cgroup, or "max"
        return total


def address_space_bytes() -> int:
    """Return the bytes of address space that this process has reserved. Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
