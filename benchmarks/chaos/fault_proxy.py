"""A TCP proxy that disconnects, delays, swallows replies or turns into a black hole on command."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

BUFFER_BYTES = 65536


@dataclass(eq=False)
class _Connection:
    near: socket.socket
    far: socket.socket
    doomed: str = ""
    """What happens to the next reply: it is `reset` (the connection breaks) or `lost` (nothing is noticed)."""

    def close(self) -> None:
        for end in (self.near, self.far):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@dataclass
class _LostReply:
    command: bytes
    times: int
    how: str


@dataclass(eq=False)
class FaultProxy:
    """Carries connections to a server until it is told to misbehave; a context manager."""

    host: str
    port: int
    lost: int = 0
    """Replies that were dropped."""
    _delay: float = 0.0
    _open: threading.Event = field(default_factory=threading.Event)
    """Cleared while it is a black hole."""
    _refusing: bool = False
    _lose: _LostReply | None = None
    _swallowed: bytes = b""
    _connections: set[_Connection] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closing: bool = False

    def __post_init__(self) -> None:
        self._open.set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.listens_on = self._listener.getsockname()[1]
        self._start(self._accept)

    @classmethod
    def to(cls, url: str) -> Self:
        """Return a proxy to the server of a URL."""
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        return cls(address.hostname, address.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def through(self, url: str) -> str:
        """Return the same URL, seen through this proxy."""
        return url.replace(f"{self.host}:{self.port}", f"127.0.0.1:{self.listens_on}")

    def disconnect(self, *, for_good: bool = True) -> None:
        """Break every connection; `for_good`: and reject new ones until `restore`."""
        self._refusing = for_good
        self._break()

    def black_hole(self) -> None:
        """Carry nothing any more, in either direction, and say so to nobody."""
        self._open.clear()

    def delay(self, seconds: float) -> None:
        """Carry every piece so much later."""
        self._delay = seconds

    def lose_reply_to(self, command: bytes, *, times: int = 1, reset: bool = True) -> None:
        """Drop the reply to the next requests that hold these bytes; with `reset`, the connection breaks then."""
        self._lose = _LostReply(command, times, "reset" if reset else "lost")

    def swallow(self, message: bytes) -> None:
        """Drop what the server sends that holds these bytes, once; nothing else is noticed of it."""
        self._swallowed = message

    def restore(self) -> None:
        """Carry everything again; what the black hole swallowed arrives late, as with TCP."""
        self._refusing, self._delay, self._lose = False, 0.0, None
        self._open.set()

    def close(self) -> None:
        """End every connection and thread."""
        self._closing = True
        self.restore()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._break()
        for thread in self._threads:
            thread.join()

    def _break(self) -> None:
        with self._lock:
            broken = list(self._connections)
            self._connections.clear()
        for connection in broken:
            connection.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                near.close()
                continue
            self._start(self._connect, near)

    def _connect(self, near: socket.socket) -> None:
        self._open.wait()
        try:
            far = socket.create_connection((self.host, self.port), timeout=10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        connection = _Connection(near, far)
        with self._lock:
            self._connections.add(connection)
        if self._refusing or self._closing:
            self._break()
            return
        self._start(self._carry_replies, connection)
        self._carry_requests(connection)

    def _carry_requests(self, connection: _Connection) -> None:
        with suppress(OSError):
            while data := connection.near.recv(BUFFER_BYTES):
                self._pause()
                lose = self._lose
                if lose is not None and lose.times > 0 and lose.command in data:
                    lose.times -= 1
                    connection.doomed = lose.how
                connection.far.sendall(data)
        self._drop(connection)

    def _carry_replies(self, connection: _Connection) -> None:
        with suppress(OSError):
            while data := connection.far.recv(BUFFER_BYTES):
                self._pause()
                if self._swallowed and self._swallowed in data:
                    self._swallowed = b""
                    self.lost += 1
                    continue
                doomed, connection.doomed = connection.doomed, ""
                if doomed:
                    self.lost += 1
                if doomed == "reset":
                    break
                if not doomed:
                    connection.near.sendall(data)
        self._drop(connection)

    def _pause(self) -> None:
        if self._delay:
            time.sleep(self._delay)
        self._open.wait()

    def _drop(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.discard(connection)
        connection.close()
