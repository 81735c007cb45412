"""Whether a process has ended."""

from __future__ import annotations

import os
import select


def wait_for_end(pid: int, seconds: float = 5.0) -> bool:
    """Return whether the process ended in time; no polling: its file descriptor becomes readable."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)
