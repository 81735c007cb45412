"""The log of a job: a file of its own, and a stream for those who watch."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from core.errors import SovitsError
from core.jobs.job import Job
from core.storage import Storage

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 1 << 20
"""A log that grows beyond this loses its older half."""
MAX_MESSAGE: Final = 4000
"""Characters of one line."""

Tell = Callable[[str, dict[str, Any]], object]
"""(id of a history, a line) → told; it may raise anything."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, as files and streams hold it."""

    timestamp: float
    """Seconds since the epoch."""
    level: str
    message: str
    job_id: str = ""
    stage: str = ""


def log_key(job_id: str) -> str:
    """Where the log of a job lies: those of an experiment in a folder, which goes when the experiment does."""
    owner, dot, rest = job_id.partition(".")
    return f"logs/{owner}/{rest}.jsonl" if dot else f"logs/{job_id}.jsonl"


def log_topic(id_: str) -> str:
    """The history of log lines of a job, a task or an experiment."""
    return f"log.{id_}"


def read_job_log(storage: Storage, job_id: str) -> list[LogLine]:
    """Its lines, oldest first; none when nothing was written."""
    try:
        content = storage.path(log_key(job_id)).read_bytes()
    except FileNotFoundError:
        return []
    return list(_parse(content.splitlines()))


class JobLogs(logging.Handler):
    """Writes what a worker logs while it holds a job, from whichever thread.

    A log that cannot be written is no reason for a job to fail.
    """

    def __init__(self, storage: Storage, tell: Tell | None = None, *, shared: bool = False) -> None:
        """`shared`: other hosts read the storage, so a file is published when its job ends."""
        super().__init__()
        self._storage = storage
        self._shared = shared
        self._tell = tell
        self._lines: queue.SimpleQueue[tuple[tuple[str, ...], dict[str, Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._job: Job | None = None
        self._streamed = True
        self._path: Path | None = None

    @contextlib.contextmanager
    def of(self, job: Job, *, streamed: bool = True) -> Iterator[None]:
        """Every line logged inside the block belongs to the job; `streamed`: it is also told to who watches."""
        self._streamed = streamed
        path = self._begin(job)
        try:
            yield
        finally:
            with self.lock or contextlib.nullcontext():
                self._job = self._path = None
            if path is not None and self._shared:
                self._publish(job, path)

    def emit(self, record: logging.LogRecord) -> None:
        job, path = self._job, self._path
        if job is None:
            return
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + (self.formatter or logging.Formatter()).formatException(record.exc_info)
        stage = str(job.payload.get("stage", ""))
        line = LogLine(record.created, record.levelname, message[:MAX_MESSAGE], job.id, stage)
        if self._tell is not None and self._streamed:
            topics = (job.id, job.topic) if job.topic and job.topic != job.id else (job.id,)
            self._lines.put((topics, asdict(line)))
        if path is not None:
            try:
                _append(path, line)
            except OSError:  # a full disk; whoever reads the worker's own log hears of it from others
                self._path = None

    def close(self) -> None:
        """Tell what has not been told yet."""
        if self._thread is not None:
            self._lines.put(None)
            self._thread.join()
            self._thread = None
        super().close()

    def _begin(self, job: Job) -> Path | None:
        path = None
        try:
            path = self._storage.path(log_key(job.id))
            path.parent.mkdir(parents=True, exist_ok=True)
        except (OSError, SovitsError) as error:
            logger.warning("The log of %s cannot be written: %s", job.id, error)
            path = None
        if self._tell is not None and self._thread is None:
            self._thread = threading.Thread(target=self._keep_telling, name="job-log", daemon=True)
            self._thread.start()
        with self.lock or contextlib.nullcontext():
            self._job, self._path = job, path
        return path

    def _publish(self, job: Job, path: Path) -> None:
        """Send a copy: the file itself stays where the next attempt goes on."""
        temporary = self._storage.new_temporary()
        try:
            shutil.copyfile(path, temporary)
            self._storage.publish(temporary, log_key(job.id))
        except FileNotFoundError:
            return  # nothing was logged
        except (OSError, SovitsError) as error:
            logger.warning("The log of %s stays on this host: %s", job.id, error)
        finally:
            temporary.unlink(missing_ok=True)

    def _keep_telling(self) -> None:
        """Beside the work: a queue that is away must hold up neither the job nor its heart."""
        assert self._tell is not None
        while (told := self._lines.get()) is not None:
            topics, line = told
            for topic in topics:
                try:
                    self._tell(log_topic(topic), line)
                except Exception:
                    # Its file has the line; and to log it here would add one more.
                    break


def _append(path: Path, line: LogLine) -> None:
    if path.exists() and path.stat().st_size > MAX_BYTES:
        lines = path.read_bytes().splitlines(keepends=True)
        shorter = path.with_suffix(".making")
        shorter.write_bytes(b"".join(lines[len(lines) // 2 :]))
        os.replace(shorter, path)
    with path.open("ab") as file:
        file.write(orjson.dumps(asdict(line)) + b"\n")


def _parse(lines: Iterable[bytes]) -> Iterator[LogLine]:
    for line in lines:
        with contextlib.suppress(orjson.JSONDecodeError, TypeError):  # half a line, from a worker that was killed
            yield LogLine(**orjson.loads(line))
