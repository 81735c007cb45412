"""A daemon under a service manager of a few lines: it is started again whenever it ends, on the same port."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import httpx

from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.process import bound_command
from core.redis import connect
from core.redis_server import read_embedded_url
from core.settings import REPOSITORY, Settings, read_settings
from scripts.demo_daemon import descendants, process_name, resident_mib

START_SECONDS: Final = 180.0
VOICE: Final = "allison"
"""A bundled voice, which speaks before anything was trained."""


class Service:
    """A context manager around the daemon and whatever follows it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.starts = 0
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = settings
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._manager = threading.Thread(target=self._manage, daemon=True)

    def __enter__(self) -> Service:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._manager.start()
        try:
            self.wait_until_ready()
        except SystemExit:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._manager.join(90)
        if self._process is not None and self._process.poll() is None:
            for pid in descendants(self._process.pid):
                _kill(pid)

    @property
    def settings(self) -> Settings:
        return read_settings(data_path=self.folder, redis_url="")

    @property
    def log(self) -> str:
        return (self.folder / "daemon.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Of the supervisor that runs now."""
        assert self._process is not None
        return self._process.pid

    @contextmanager
    def queue(self) -> Iterator[Queue]:
        """Yield the queue as it is on the embedded server."""
        with connect(read_embedded_url(self.folder / "redis")) as client:
            yield Queue(client, QueueOptions.from_settings(self.settings))

    def processes(self) -> dict[int, str]:
        """Return pid → name of everything that runs, the supervisor included."""
        return {pid: name for pid in descendants(self.pid) if (name := process_name(pid))}

    def memory_mib(self) -> dict[int, tuple[str, float]]:
        """Return pid → name and resident MiB."""
        return {pid: (name, resident_mib(pid, "VmRSS")) for pid, name in self.processes().items()}

    def kill(self, *names: str, generator: random.Random) -> str:
        """kill -9 one process of these names (of any, without) and return its name; empty when there is none."""
        candidates = [(pid, name) for pid, name in self.processes().items() if not names or name in names]
        if not candidates:
            return ""
        pid, name = generator.choice(candidates)
        _kill(pid)
        return name

    def drain(self) -> None:
        """Ask the daemon to end, as a redeployment does; it is started again."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait_until_ready(self) -> None:
        """Wait until it can speak."""
        wait_until(self._is_ready, START_SECONDS, f"the service ({self.folder / 'daemon.log'})")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _manage(self) -> None:
        environment = {
            **os.environ,
            "DATA_PATH": str(self.folder),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "REDIS_URL": "",
            **self._settings,
        }
        for name in ("API_PORT", "REDIS_HOST", "DATABASE_URL", "STORAGE_URL", "VALID_API_KEYS"):
            environment.pop(name, None)
        while not self._ending.is_set():
            with (self.folder / "daemon.log").open("ab") as log:
                # In this thread, which lives as long as the service: the daemon dies with it, however that ends.
                command = bound_command([sys.executable, "main.py", "serve"])
                self._process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
            self.starts += 1
            self._process.wait()
            self._ending.wait(0.2)


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for a condition and return the seconds that it took; SystemExit when it takes too long."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise SystemExit(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)
    return time.monotonic() - started


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
