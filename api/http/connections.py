"""Limits of connections: how many there are at once, and how long a request's head may take to arrive."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.operating_system import open_files

logger = logging.getLogger(__name__)

HEAD_SECONDS: Final = 20.0
"""How long the request line and the headers may take to arrive; slower connections are closed."""
RESERVED_FILES: Final = 48
"""Open files kept for the database, Redis, uploads and downloads."""
MAX_BACKLOG: Final = 128
"""Connections that the kernel queues; all of them may be accepted before the first one can be rejected."""
WARNING_SECONDS: Final = 60.0
"""A shortage of open files is logged at most this often."""

_TOO_MANY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
)
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def connection_limits(max_connections: int, file_limit: int) -> tuple[int, int]:
    """Return (connections, backlog) that fit the open files that this process has left."""
    spare = max(8, file_limit - open_files() - RESERVED_FILES)
    backlog = max(2, min(MAX_BACKLOG, spare // 4))
    return max(4, min(max_connections, spare - backlog)), backlog


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 that rejects connections above a number, and closes those whose request does not arrive in time."""

    max_connections: ClassVar[int] = 1 << 20
    head_seconds: ClassVar[float] = HEAD_SECONDS
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Reject the connection when there are too many, else wait for its first request."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.write(_TOO_MANY)
            transport.close()
            return
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        """Start or stop the timer by whether a request's head is incomplete."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_head_timer()
        elif self._head_timer is None and self.conn.trailing_data[0]:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._close_slow)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.write(_TOO_SLOW)
            self.transport.close()


def limited_protocol(max_connections: int) -> type[LimitedProtocol]:
    """Return the protocol with a limit of connections, as uvicorn's configuration takes it."""
    return type("ConfiguredProtocol", (LimitedProtocol,), {"max_connections": max_connections})


class QuietAcceptErrors:
    """An exception handler for event loops that logs a shortage of open files once a minute, not at every attempt."""

    def __init__(self) -> None:
        self._logged_at = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "accept() out of system resource" not in context.get("message", ""):
            loop.default_exception_handler(context)
            return
        now = time.monotonic()
        if now - self._logged_at >= WARNING_SECONDS:
            self._logged_at = now
            logger.warning("No file is left for another connection; raise the limit of open files (ulimit -n).")
