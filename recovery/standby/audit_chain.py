"""The audit log of a site's role: switches, returns, drills and overrides, in a file of its own.

Each line has the SHA-256 of the one before, so that a line that was changed or removed shows. Lines are only appended.
"""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson
from pydantic import BaseModel, ValidationError

from common.operating_system import host_name, lock_file
from recovery.backup.signatures import BadBackup
from recovery.backup.target import BackupTarget
from recovery.standby.site import FOLDER, SiteIdentity

_START: Final = "0" * 64


class ChainedEntry(BaseModel):
    """An action of a site, or of an operator on it."""

    number: int
    time: str
    """ISO 8601, UTC."""
    who: str
    action: str
    detail: str
    result: str
    previous: str
    """SHA-256 of the line before."""


class AuditChain:
    """The entries of one site."""

    def __init__(self, data_path: Path) -> None:
        self.path = data_path / FOLDER / "audit.jsonl"
        self._data_path = data_path

    def append(self, action: str, detail: str, result: str = "done") -> ChainedEntry:
        """Write an entry and wait until it is on the disk."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            lock_file(file)
            lines = file.read().splitlines()
            entry = ChainedEntry(
                number=len(lines) + 1,
                time=datetime.now(UTC).isoformat(timespec="milliseconds"),
                who=f"{os.environ.get('SUDO_USER') or getpass.getuser()}@{host_name()}",
                action=action,
                detail=detail,
                result=result,
                previous=_hash(lines[-1]) if lines else _START,
            )
            file.write(orjson.dumps(entry.model_dump(), option=orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())
        return entry

    def entries(self) -> Iterator[ChainedEntry]:
        """Yield all entries in order.

        Raises:
            BadBackup: a line was changed, removed or added by something else.
        """
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        previous = _START
        for number, line in enumerate(lines, 1):
            try:
                entry = ChainedEntry.model_validate_json(line)
            except ValidationError:
                raise self._broken(number) from None
            if (entry.number, entry.previous) != (number, previous):
                raise self._broken(number)
            previous = _hash(line)
            yield entry

    def archive(self, target: BackupTarget) -> None:
        """Copy the log to a target, apart from the service's own logs."""
        if self.path.exists():
            site = SiteIdentity.of(self._data_path).site
            target.write(f"audit/{site}.jsonl", self.path.read_bytes())

    def _broken(self, number: int) -> BadBackup:
        return BadBackup(
            f"The audit log {self.path} was changed: line {number} does not follow the one before it.",
            hint="Compare it with its copy in the backup's target (audit/).",
        )


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
