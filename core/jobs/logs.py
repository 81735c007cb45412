"""The log of a job: a file of its own, and events for those who watch it."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from common.storage_keys import log_file
from core.errors import SovitsError
from core.jobs.job import Job
from core.logs import current_job, current_request
from core.storage import Storage

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 1 << 20
"""A log that grows beyond this loses its older half."""
MAX_MESSAGE: Final = 4000
"""Characters of one line."""

PublishLine = Callable[[str, Mapping[str, object]], object]
"""Adds a line to a topic's history; it may raise anything."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, as files and histories hold it."""

    timestamp: float
    """Seconds since the epoch."""
    level: str
    message: str
    job_id: str = ""
    stage: str = ""


def log_topic(id_: str) -> str:
    """Return the topic whose history holds the log lines of a job, a task or an experiment."""
    return f"log.{id_}"


def read_job_log(storage: Storage, job_id: str) -> list[LogLine]:
    """Return the lines of a job's log, oldest first; none when nothing was written."""
    try:
        content = storage.path(log_file(job_id)).read_bytes()
    except FileNotFoundError:
        return []
    lines = []
    for line in content.splitlines():
        with contextlib.suppress(orjson.JSONDecodeError, TypeError):  # half a line, from a worker that was killed
            lines.append(LogLine(**orjson.loads(line)))
    return lines


@dataclass(slots=True)
class _Capture:
    job: Job
    path: Path | None
    streamed: bool


class JobLogs(logging.Handler):
    """Writes what a worker process logs while it runs jobs: a line belongs to the job of its thread.

    A line of a thread without a job belongs to the job that runs, if it is the only one. A log that cannot be written
    is no reason for a job to fail.
    """

    def __init__(self, storage: Storage, publish: PublishLine | None = None, *, shared: bool = False) -> None:
        """`shared`: other hosts read the storage, so a file is uploaded when its job ends."""
        super().__init__()
        self._storage = storage
        self._shared = shared
        self._publish = publish
        self._lines: queue.SimpleQueue[tuple[tuple[str, ...], dict[str, Any]] | None] = queue.SimpleQueue()
        self._publisher: threading.Thread | None = None
        self._captures: dict[str, _Capture] = {}

    @contextlib.contextmanager
    def capture(self, job: Job, *, streamed: bool = True) -> Iterator[None]:
        """Have every line that is logged inside the block belong to the job, published as an event if `streamed`.

        Jobs that are enqueued inside it belong to the same HTTP request.
        """
        path = self._file_of(job)
        if self._publish is not None and self._publisher is None:
            self._publisher = threading.Thread(target=self._publish_lines, name="job-log", daemon=True)
            self._publisher.start()
        self._captures[job.id] = capture = _Capture(job, path, streamed)
        marker, request_marker = current_job.set(job.id), current_request.set(job.request_id)
        try:
            yield
        finally:
            current_request.reset(request_marker)
            current_job.reset(marker)
            # Another slot may have the job by now: that of a lease which was lost ends late.
            if self._captures.get(job.id) is capture:
                del self._captures[job.id]
            if capture.path is not None and self._shared:
                self._upload(job, capture.path)

    def emit(self, record: logging.LogRecord) -> None:
        captures = dict(self._captures)
        capture = captures.get(current_job.get())
        if capture is None and len(captures) == 1:
            (capture,) = captures.values()
        if capture is None:
            return
        job = capture.job
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + (self.formatter or logging.Formatter()).formatException(record.exc_info)
        stage = str(job.payload.get("stage", ""))
        line = LogLine(record.created, record.levelname, message[:MAX_MESSAGE], job.id, stage)
        if self._publish is not None and capture.streamed:
            topics = (job.id, job.topic) if job.topic and job.topic != job.id else (job.id,)
            self._lines.put((topics, asdict(line)))
        if capture.path is not None:
            try:
                _append(capture.path, line)
            except OSError:  # a full disk: the job itself reports it
                capture.path = None

    def close(self) -> None:
        """Publish what has not been published yet."""
        if self._publisher is not None:
            self._lines.put(None)
            self._publisher.join()
            self._publisher = None
        super().close()

    def _file_of(self, job: Job) -> Path | None:
        """Return the file of a job's log; None for a part of a stream, which is forgotten in minutes."""
        if job.stream is not None:
            return None
        try:
            path = self._storage.path(log_file(job.id))
            path.parent.mkdir(parents=True, exist_ok=True)
        except (OSError, SovitsError) as error:
            logger.warning("The log of %s cannot be written: %s", job.id, error)
            return None
        return path

    def _publish_lines(self) -> None:
        """Publish in a thread of its own: a queue that is away must hold up neither the job nor its heartbeat."""
        assert self._publish is not None
        while (entry := self._lines.get()) is not None:
            topics, line = entry
            for topic in topics:
                try:
                    self._publish(log_topic(topic), line)
                except Exception:
                    # The file has the line, and to log this error would add one more.
                    break

    def _upload(self, job: Job, path: Path) -> None:
        """Publish a copy in the storage: the file itself stays where the next attempt goes on."""
        temporary = self._storage.new_temporary()
        try:
            shutil.copyfile(path, temporary)
            self._storage.publish(temporary, log_file(job.id))
        except FileNotFoundError:
            return  # nothing was logged
        except (OSError, SovitsError) as error:
            logger.warning("The log of %s stays on this host: %s", job.id, error)
        finally:
            temporary.unlink(missing_ok=True)


def _append(path: Path, line: LogLine) -> None:
    if path.exists() and path.stat().st_size > MAX_BYTES:
        lines = path.read_bytes().splitlines(keepends=True)
        shorter = path.with_suffix(".making")
        shorter.write_bytes(b"".join(lines[len(lines) // 2 :]))
        os.replace(shorter, path)
    with path.open("ab") as file:
        file.write(orjson.dumps(asdict(line)) + b"\n")
