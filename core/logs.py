"""Log lines: `[time] [level] [module] [pid] message`, with the job id while one runs, or JSON by setting."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextvars import ContextVar
from typing import Literal

import orjson

from common.control_characters import escape_control_characters
from core.log_output import LOG_OUTPUT

CHATTY = ("httpx", "httpcore", "aiosqlite", "faster_whisper", "jieba", "matplotlib", "PIL", "alembic", "numba")
"""Libraries that log too much below warnings, at any level; the first three would log URLs and secrets."""

current_job: ContextVar[str] = ContextVar("current_job", default="")
"""The id of the job that this thread or asyncio task runs; every line that it logs names it."""
current_request: ContextVar[str] = ContextVar("current_request", default="")
"""The id of the HTTP request that this task handles, or that the job was created by."""


def configure_logs(
    format_: Literal["text", "json"] = "text", level: str = "INFO", *, from_thread: bool = False
) -> None:
    """Send every logger's lines to stderr in one format; `from_thread`: so that a slow reader holds up nothing."""
    if from_thread:
        LOG_OUTPUT.use_thread()
    handler: logging.Handler = logging.StreamHandler(LOG_OUTPUT if from_thread else sys.stderr)
    handler.setFormatter(_JsonFormatter() if format_ == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _stamp(record: logging.LogRecord) -> str:
    """Return the time of a line: ISO 8601, UTC, milliseconds."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = _stamp(record)
        subject = " ".join(filter(None, (current_job.get(), current_request.get())))
        prefix = f"[{stamp}] [{record.levelname}] [{record.name}] [{os.getpid()}] {f'({subject}) ' if subject else ''}"
        line = prefix + escape_control_characters(record.getMessage())
        if record.exc_info:  # its lines are indented: none of them can pass for a line of the log
            trace = self.formatException(record.exc_info).split("\n")
            line += "".join("\n    " + escape_control_characters(part) for part in trace)
        return line


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _stamp(record),
            "level": record.levelname,
            "module": record.name,
            "pid": os.getpid(),
            "message": _without_surrogates(record.getMessage()),
        }
        if job := current_job.get():
            entry["job"] = job
        if request := current_request.get():
            entry["request_id"] = request
        if record.exc_info:
            entry["exception"] = _without_surrogates(self.formatException(record.exc_info))
        return orjson.dumps(entry).decode()


def _without_surrogates(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
