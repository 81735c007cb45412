"""What systemd wants to hear: READY, WATCHDOG and STOPPING over its notification socket."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> bool:
    """Send `READY=1`, `STATUS=…` and the like; False when nobody listens (no systemd)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # the abstract namespace
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.connect(address)
            channel.sendall("\n".join(lines).encode())
        except OSError:
            return False  # systemd restarts itself now and then; the next message finds it
    return True


def watchdog_seconds() -> float | None:
    """How often `WATCHDOG=1` is due: half of what systemd allows, as its manual advises."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000
