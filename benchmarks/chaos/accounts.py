"""What the clients of a run were promised, written as it happens, so that an interrupted run can go on."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson

JOURNAL: Final = "journal.jsonl"
INFERENCE: Final = "inference"
UPLOAD: Final = "upload"


@contextmanager
def kept_or_temporary(folder: Path | None, prefix: str) -> Iterator[Path]:
    """Yield the folder of a run, by default a temporary one."""
    if folder is not None:
        yield folder.absolute()
        return
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


class Accounts:
    """The keyed requests of a run with their ids, its faults and its problems; safe to use from any thread."""

    def __init__(self, folder: Path) -> None:
        """Read what an earlier run in the folder has left."""
        self.accepted: dict[str, dict[str, str]] = {INFERENCE: {}, UPLOAD: {}}
        """Kind → idempotency key → id of what was accepted."""
        self.open: dict[str, None] = {}
        """Keys of requests that have not come to an end, in their order."""
        self.faults = Counter[str]()
        self.done = Counter[str]()
        """What the clients got."""
        self.problems: list[str] = []
        self.seconds = 0.0
        """How long the run has taken so far."""
        self._number = 0
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._journal = folder / JOURNAL
        for line in self._journal.read_bytes().splitlines() if self._journal.exists() else ():
            self._apply(orjson.loads(line))

    def next_number(self) -> int:
        """Return a number that no request of the run has had."""
        with self._lock:
            self._number += 1
            return self._number

    def begin(self, key: str) -> None:
        """Note a request before it is sent."""
        self._write({"begun": key})

    def end(self, key: str, accepted_id: str = "") -> None:
        """Note that a request was accepted, or given up."""
        self._write({"ended": key, "id": accepted_id})

    def count(self, what: str) -> None:
        """Count something that a client got."""
        self._write({"got": what})

    def fault(self, name: str, seconds: float) -> None:
        """Note a fault, and how long the run has taken since the last one."""
        self._write({"fault": name, "seconds": seconds})

    def problem(self, sentence: str) -> None:
        """Note what must not be."""
        self._write({"problem": sentence})

    @property
    def summary(self) -> str:
        """What has happened so far, in a few words."""
        counts = ", ".join(f"{count} {what}" for what, count in sorted(self.done.items()))
        return f"{counts or 'nothing done'}; {len(self.problems)} problems"

    def _write(self, entry: dict[str, str | float]) -> None:
        with self._lock:
            self._apply(entry)
            with self._journal.open("ab") as journal:
                journal.write(orjson.dumps(entry) + b"\n")

    def _apply(self, entry: dict[str, str | float]) -> None:
        if "begun" in entry:
            key = str(entry["begun"])
            self.open[key] = None
            self._number = max(self._number, int(key.rpartition("-")[2]))
        elif "ended" in entry:
            key = str(entry["ended"])
            self.open.pop(key, None)
            if entry["id"]:
                self.accepted[key.partition("-")[0]][key] = str(entry["id"])
        elif "got" in entry:
            self.done[str(entry["got"])] += 1
        elif "fault" in entry:
            self.faults[str(entry["fault"])] += 1
            self.seconds += float(entry["seconds"])
        else:
            self.problems.append(str(entry["problem"]))
