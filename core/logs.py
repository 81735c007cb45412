"""Log lines: `[time] [level] [module] [pid] message`, with the job id while one runs, or JSON by setting."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextvars import ContextVar
from typing import Literal

import orjson

CHATTY = ("httpx", "httpcore", "aiosqlite", "faster_whisper", "jieba", "matplotlib", "PIL", "alembic", "numba")
"""Libraries that log too much below warnings, at any level; the first three would log URLs and secrets."""

current_job: ContextVar[str] = ContextVar("current_job", default="")
"""The id of the job that this thread or asyncio task runs; every line that it logs names it."""


def configure_logs(format_: Literal["text", "json"] = "text", level: str = "INFO") -> None:
    """Send every logger's lines to stderr in one format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if format_ == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        stamp = f"{moment}.{int(record.msecs):03d}Z"
        job = current_job.get()
        subject = f"({job}) " if job else ""
        line = f"[{stamp}] [{record.levelname}] [{record.name}] [{os.getpid()}] {subject}{record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": record.created,
            "level": record.levelname,
            "module": record.name,
            "pid": os.getpid(),
            "message": record.getMessage(),
        }
        if job := current_job.get():
            entry["job"] = job
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry).decode()
