"""Standard error written from a thread: whoever reads it may be slow or gone, and nothing here waits for it."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import deque
from typing import Final

MAX_PENDING_BYTES: Final = 4 << 20
"""Of lines that nobody has read yet; more are dropped, and counted."""
EXIT_SECONDS: Final = 1.0
"""How long the end of the process waits until everything is written."""


class BackgroundWriter:
    """Writes to a file descriptor in the order of the calls, which never block."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._dropped = 0
        self._closed = False
        """Whether the reader is gone."""
        self._changed = threading.Condition()
        threading.Thread(target=self._write_pending, daemon=True).start()

    def write(self, data: bytes) -> None:
        """Write soon; drop what does not fit while nobody reads."""
        with self._changed:
            if self._closed:
                return
            if self._pending_bytes + len(data) > MAX_PENDING_BYTES:
                self._dropped += data.count(b"\n")
                return
            if self._dropped:
                data = b"%d lines of the log were dropped here: nobody read them.\n%s" % (self._dropped, data)
                self._dropped = 0
            self._pending.append(data)
            self._pending_bytes += len(data)
            self._changed.notify_all()

    def flush(self, seconds: float) -> None:
        """Wait until everything is written, but no longer than that."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._pending_bytes, seconds)

    def _write_pending(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending)
                data = self._pending.popleft()
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:
                with self._changed:
                    self._closed = True
                    self._pending.clear()
                    self._pending_bytes = 0
                    self._changed.notify_all()
                return
            with self._changed:
                self._pending_bytes -= len(data)
                self._changed.notify_all()


class LogOutput:
    """The stream of this process's log: standard error, directly or by a thread."""

    def __init__(self) -> None:
        self._writer: BackgroundWriter | None = None

    def use_thread(self) -> None:
        """Write from a thread from now on."""
        if self._writer is None:
            sys.stderr.flush()
            self._writer = BackgroundWriter(sys.stderr.fileno())
            atexit.register(self.finish)

    def write(self, text: str) -> None:
        """Write a text, as `logging.StreamHandler` does it."""
        if self._writer is None:
            sys.stderr.write(text)
        else:
            self._writer.write(text.encode(errors="backslashreplace"))

    def write_bytes(self, data: bytes) -> None:
        """Write what another process logged."""
        if self._writer is None:
            sys.stderr.buffer.write(data)
            sys.stderr.buffer.flush()
        else:
            self._writer.write(data)

    def finish(self) -> None:
        """Write what waits, before this process becomes another program."""
        if self._writer is not None:
            self._writer.flush(EXIT_SECONDS)

    def flush(self) -> None:
        """Let nothing wait in a buffer of this process."""
        if self._writer is None:
            sys.stderr.flush()


LOG_OUTPUT: Final = LogOutput()
