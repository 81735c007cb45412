"""Child programs that report in JSON lines on their standard output; what they write to standard error is their log."""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self, TypeAlias

import orjson

from common.json_types import JsonObject
from common.operating_system import signal_group
from common.programs import program_environment
from common.repository import REPOSITORY
from core.process import start_child, thread_limits

logger = logging.getLogger(__name__)

LOG_TAIL_LINES: Final = 20
"""Last lines of the log that are kept, for the error of a child that failed."""


class ChildProcess:
    """A child program in a process group of its own; a context manager that leaves nothing of it running.

    Start it from a thread that lives as long as the child should (see `core.process.start_child`).
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = REPOSITORY,
        input: bytes = b"",
        keep_input_open: bool = False,
        log: Callable[[str], object] | None = None,
        inbox: Inbox | None = None,
    ) -> None:
        """Start the program in the folder `cwd`.

        `input` is its standard input, or that is kept open for `send`. `log` gets every line of its log, from another
        thread. Children that share an `inbox` are read with `merged_events`.
        """
        self.returncode: int | None = None
        self.log_tail: list[str] = []
        self.has_reported = False
        """Whether it has sent anything; before that it may not handle signals yet."""
        self._log = log
        self._inbox: Inbox = queue.SimpleQueue() if inbox is None else inbox
        self._process = start_child(
            command,
            env=program_environment(os.environ if env is None else env),
            cwd=cwd,
            stdin=subprocess.PIPE if input or keep_input_open else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._open_input = self._process.stdin if keep_input_open else None
        self._readers = [
            threading.Thread(target=self._exchange, args=(self._process.stdout, input), daemon=True),
            threading.Thread(target=self._read_log, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill it with everything that it started, and wait for its end."""
        signal_group(self._process.pid)
        self.end_input()
        self.wait()

    def events(self, poll_seconds: float | None = None) -> Iterator[JsonObject | None]:
        """Yield what the child reports until it closes its output; None each time nothing came for `poll_seconds`."""
        while True:
            try:
                _, line = self._inbox.get(timeout=poll_seconds)
            except queue.Empty:
                yield None
                continue
            if line is None:
                return
            yield self._parse(line)

    def send(self, document: Mapping[str, object]) -> None:
        """Send a line of JSON to its standard input, which was kept open; nothing to a child that has ended.

        It waits for a child that does not read once 64 KiB are unread.
        """
        assert self._open_input is not None
        with suppress(BrokenPipeError):
            self._open_input.write(orjson.dumps(document) + b"\n")
            self._open_input.flush()

    def end_input(self) -> None:
        """Close its standard input, which was kept open."""
        if self._open_input is not None:
            with suppress(BrokenPipeError):
                self._open_input.close()

    def wait(self) -> int:
        """Wait for the child and its log to end and return its exit code; negative for a signal."""
        self.returncode = self._process.wait()
        for reader in self._readers:
            reader.join()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the child itself."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the child with everything that it started; may be called from any thread."""
        if self._process.poll() is None:
            signal_group(self._process.pid)

    @property
    def killed_by(self) -> str:
        """Name of the signal that ended it; empty when it ended by itself or still runs."""
        code = self.returncode or 0
        return signal.Signals(-code).name if code < 0 else ""

    def describe_exit(self) -> str:
        """Return `was killed by SIGKILL` or `ended with exit code 1`."""
        return f"was killed by {self.killed_by}" if self.killed_by else f"ended with exit code {self.returncode}"

    def _parse(self, line: bytes) -> JsonObject:
        self.has_reported = True
        event: JsonObject = orjson.loads(line)
        return event

    def _exchange(self, output: IO[bytes], input: bytes) -> None:
        if self._process.stdin is not None and self._open_input is None:
            try:
                with self._process.stdin as stream:
                    stream.write(input)
            except BrokenPipeError:
                logger.debug("A child process ended before it had read its input.")
        with output:
            for line in filter(bytes.strip, output):
                self._inbox.put((self, line))
        self._inbox.put((self, None))

    def _read_log(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                text = line.decode(errors="replace").rstrip()
                self.log_tail = [*self.log_tail[1 - LOG_TAIL_LINES :], text]
                if self._log is not None:
                    self._log(text)


Inbox: TypeAlias = "queue.SimpleQueue[tuple[ChildProcess, bytes | None]]"


def merged_events(children: Sequence[ChildProcess], inbox: Inbox) -> Iterator[tuple[ChildProcess, JsonObject | None]]:
    """Yield what children with one inbox report, as it comes; (child, None) when a child has closed its output."""
    running = len(children)
    while running:
        child, line = inbox.get()
        running -= line is None
        yield child, None if line is None else child._parse(line)


class EventWriter:
    """The child's side: it writes events to standard output, and moves what libraries print there to the log."""

    def __init__(self) -> None:
        self._output = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)

    def write(self, event: Mapping[str, object]) -> None:
        """Send one event."""
        self._output.write(orjson.dumps(event) + b"\n")


def isolated_environment(*, threads: int, keep: Sequence[str] = ()) -> dict[str, str]:
    """Return an environment without keys and addresses, for a child that opens untrusted files.

    `keep` names further variables of this process that the child gets.
    """
    names = ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", *keep)
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, **thread_limits(threads)}
