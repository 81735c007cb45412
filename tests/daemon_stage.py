"""A whole daemon with toy roles, and the stage that they perform on."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.redis import connect
from core.redis_server import read_embedded_url
from core.settings import Settings, read_settings

REPOSITORY = Path(__file__).resolve().parents[1]
TOYS = Path(__file__).resolve().parent
SOON = 60.0
"""Seconds that anything may take on a busy machine; what is promised to be quicker says so in its test."""


def until(condition: Callable[[], Any], seconds: float = SOON, what: str = "") -> Any:
    """Return what `condition` answers, once it is something."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while True:
        if answer := condition():
            return answer
        assert time.monotonic() < deadline, f"waited {seconds} s for {what or condition}"
        pause.wait(0.02)


@dataclass
class Run:
    """One run of a toy's job, in progress."""

    job: str
    pid: int
    attempts: int
    rescues: int
    line: socket.socket

    def go_on(self, word: bytes = b".") -> None:
        with suppress(OSError):  # it may be dead
            self.line.sendall(word)


class Stage:
    """Where toys tell what they do."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._runs: queue.Queue[Run] = queue.Queue()
        self._lines: list[socket.socket] = []
        self._closing = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def next_run(self, seconds: float = SOON) -> Run:
        """Return the next run of a job, as soon as it starts."""
        return self._runs.get(timeout=seconds)

    def is_empty(self) -> bool:
        return self._runs.empty()

    def close(self) -> None:
        self._closing = True
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()
        for line in self._lines:
            line.close()

    def _listen(self) -> None:
        while True:
            line, _ = self._listener.accept()
            self._lines.append(line)
            if self._closing:
                return
            with line.makefile("rb") as reader:
                if announcement := reader.readline():
                    self._runs.put(Run(**json.loads(announcement), line=line))


class Daemon:
    """`main.py serve` in a data folder of its own."""

    def __init__(self, folder: Path, stage: Stage) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.environment: dict[str, str] = {}
        """Of the daemon that was started last."""
        self._stage = stage
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._news = threading.Condition()
        self._ended = False

    @property
    def settings(self) -> Settings:
        return read_settings(data_path=self.folder)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *options: str, role_class: str = "toy_roles:Toy", ready: bool = True, **settings: str) -> None:
        """Start it with one toy splitter and no API, or as the options say."""
        before = len(self.lines)
        self.environment = {
            **os.environ,
            "DATA_PATH": str(self.folder),
            "REDIS_URL": "",
            "PORT": "0",
            "PYTHONPATH": str(TOYS),
            "SOVITSD_ROLE_CLASSES": f"splitter={role_class}",
            "TOY_ADDRESS": self._stage.address,
            "WORKER_RETRY_DELAY_SECONDS": "0",
            "NUM_FILE_WORKERS": "0",  # only the toys
            **settings,
        }
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(REPOSITORY / "main.py"),
                "serve",
                *(options or ("--roles", "splitter", "--without-api")),
            ],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._ended = False
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        if ready:
            self.wait_for("processes are ready", after=before)

    def wait_for(self, pattern: str, seconds: float = SOON, *, after: int = 0) -> int:
        """Return the number of the first log line behind `after` that matches."""
        with self._news:

            def found() -> int | None:
                return next(
                    (n for n, line in enumerate(self.lines[after:], after + 1) if re.search(pattern, line)),
                    None,
                )

            self._news.wait_for(lambda: found() or self._ended, timeout=seconds)
            number = found()
        assert number is not None, f"no line {pattern!r} in:\n" + "\n".join(self.lines)
        return number

    def kill(self) -> None:
        """kill -9, as a machine out of memory does."""
        assert self._process is not None
        self._process.kill()
        self._end()

    def drain(self, seconds: float = SOON) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = SOON) -> int:
        assert self._process is not None
        code = self._process.wait(seconds)
        self._end()
        return code

    def close(self) -> None:
        if self._process is not None:
            self.kill()

    @property
    def queue(self) -> Queue:
        return Queue(self._redis(), QueueOptions.from_settings(self.settings))

    def _redis(self) -> Any:
        return connect(read_embedded_url(self.folder / "redis"))

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _end(self) -> None:
        assert self._process is not None
        assert self._reader is not None
        self._process.wait()
        self._reader.join(5)
        assert self._process.stderr is not None
        self._process.stderr.close()
