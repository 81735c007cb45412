"""A child program of the model library: JSON lines in, an end that leaves nothing running."""

from __future__ import annotations

import logging
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import orjson

from core.process import signal_group, start_child
from roles.runtime.role import JobContext

logger = logging.getLogger(__name__)

LAST_WORDS = 20
"""Lines of a dead program's log that its error quotes."""
WATCH_SECONDS = 0.5
"""`watch` is called this often at least."""


class Program:
    """One run of `python -m MODULE FILE` for one job, in a process group of its own."""

    def __init__(self, module: str, file: Path, context: JobContext) -> None:
        self.module = module
        self.file = file
        self.context = context
        self.heard = False
        """Whether it has said anything; before that, nobody knows whether it listens to signals."""
        self.last_words: list[str] = []
        self._lines: queue.Queue[bytes | None] = queue.Queue()

    def run(self, handle: Callable[[dict[str, Any]], None], watch: Callable[[], None]) -> int:
        """Give its events to `handle` until it ends; the exit code. Both may raise, which ends it at once."""
        self.process = start_child(
            [sys.executable, "-m", self.module, str(self.file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.context.on_stop(self.kill)
        readers = [
            threading.Thread(target=self._read_events, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            self._follow(handle, watch)
            return self.process.wait()
        finally:
            self.kill()
            self.process.wait()
            for reader in readers:
                reader.join()
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe is not None:
                    pipe.close()

    def ask(self, signal_number: int) -> None:
        """Send a signal to the program itself."""
        self.process.send_signal(signal_number)

    def kill(self) -> None:
        """End it with everything that it started."""
        if self.process.poll() is None:
            signal_group(self.process.pid)

    def _follow(self, handle: Callable[[dict[str, Any]], None], watch: Callable[[], None]) -> None:
        while True:
            try:
                line = self._lines.get(timeout=WATCH_SECONDS)
            except queue.Empty:
                line = b""
            if line is None:
                return
            if line:
                self.heard = True
                handle(orjson.loads(line))
            self.context.check()
            watch()

    def _read_events(self, output: IO[bytes]) -> None:
        for line in output:
            self._lines.put(line)
        self._lines.put(None)

    def _read_log(self, output: IO[bytes]) -> None:
        for line in output:
            text = line.decode(errors="replace").rstrip()
            self.last_words = [*self.last_words[1 - LAST_WORDS :], text]
            logger.info("%s", text)
