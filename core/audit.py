"""The audit log: who did what, from where, and with which result; one JSON object a line, never changed afterwards.

The newest entries are in `audit.jsonl` under the data folder; when it is full, it becomes `audit.jsonl.1`, that one
`audit.jsonl.2`, and the oldest is deleted. Only the user that runs sovitsd can read them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import orjson

from common.operating_system import lock_file
from core.settings import Settings

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 16 << 20
"""Of one file: about 60,000 entries."""
KEPT_FILES: Final = 6
"""With the one that is written to."""
WARNING_SECONDS: Final = 60.0
"""That the log cannot be written is said at most this often."""

AuditResult = Literal["done", "rejected", "failed"]
RESULTS: Final[tuple[AuditResult, ...]] = ("done", "rejected", "failed")
REJECTED_STATUSES: Final = frozenset((401, 403, 421, 429))


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request."""

    time: str
    """ISO 8601, UTC."""
    request_id: str
    caller: str
    """Id of the API key; empty without a valid one."""
    address: str
    """IP address of the client."""
    method: str
    path: str
    """Without the query, which may hold a token."""
    status: int
    result: AuditResult


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are asked for; empty and None: any."""

    caller: str = ""
    address: str = ""
    method: str = ""
    path: str = ""
    """The beginning of the path."""
    request_id: str = ""
    result: str = ""
    status: int | None = None

    def matches(self, entry: AuditEntry) -> bool:
        """Return whether an entry is asked for."""
        return (
            self.caller in ("", entry.caller)
            and self.address in ("", entry.address)
            and self.method.upper() in ("", entry.method)
            and entry.path.startswith(self.path)
            and self.request_id in ("", entry.request_id)
            and self.result in ("", entry.result)
            and self.status in (None, entry.status)
        )


class AuditLog:
    """Appends entries, also from several processes, and reads them, newest first."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, kept_files: int = KEPT_FILES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._kept_files = kept_files
        self._descriptor: int | None = None
        self._warned_at = float("-inf")

    @classmethod
    def of(cls, settings: Settings) -> AuditLog:
        """Return the log in the data folder."""
        return cls(settings.data_path / "audit" / "audit.jsonl")

    def append(self, entry: AuditEntry) -> None:
        """Write an entry; one that cannot be written is a line of the log, no error of the request."""
        line = orjson.dumps(asdict(entry), option=orjson.OPT_APPEND_NEWLINE)
        try:
            descriptor = self._open()
            if os.fstat(descriptor).st_size + len(line) > self._max_bytes:
                self._rotate(len(line))
                descriptor = self._open()
            os.write(descriptor, line)
        except OSError as error:
            if time.monotonic() - self._warned_at >= WARNING_SECONDS:
                self._warned_at = time.monotonic()
                logger.error("The audit log %s cannot be written: %s", self.path, error)

    def entries(self, entry_filter: AuditFilter | None = None) -> Iterator[AuditEntry]:
        """Yield the entries that match, newest first."""
        entry_filter = entry_filter or AuditFilter()
        for path in self._files():
            try:
                lines = path.read_bytes().split(b"\n")
            except FileNotFoundError:  # rotated meanwhile
                continue
            for line in reversed(lines):
                entry = parse_entry(line)
                if entry is not None and entry_filter.matches(entry):
                    yield entry

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _files(self) -> list[Path]:
        return [self.path, *(self._rotated(number) for number in range(1, self._kept_files))]

    def _rotated(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _open(self) -> int:
        """Return the descriptor of the newest file, which another process may have rotated."""
        if self._descriptor is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.stat(self.path).st_ino == os.fstat(self._descriptor).st_ino:
                    return self._descriptor
            self.close()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return self._descriptor

    def _rotate(self, more_bytes: int) -> None:
        """Rename the files, unless another process has just done it."""
        lock = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            lock_file(lock)
            # Missing: another process has just renamed it, and nobody has begun the next one yet.
            if not self.path.exists() or self.path.stat().st_size + more_bytes <= self._max_bytes:
                return
            files = self._files()
            for older, newer in zip(files[::-1], files[-2::-1], strict=False):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(newer, older)
        finally:
            os.close(lock)


def result_of(status: int) -> AuditResult:
    """Return what a response's status means to an auditor."""
    if status in REJECTED_STATUSES:
        return "rejected"
    return "done" if status < 400 else "failed"


def parse_entry(line: bytes) -> AuditEntry | None:
    """Return the entry of a line; None for an empty one, or for half of one that a full disk left."""
    try:
        return AuditEntry(**orjson.loads(line))
    except (ValueError, TypeError):
        return None
