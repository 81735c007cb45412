"""When a batch does not fit into memory: half of it, once, and nobody is left to wonder why."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from core.errors import SovitsError

logger = logging.getLogger(__name__)

FILE = "smaller_batch.json"
OUT_OF_MEMORY = "out_of_memory"
CGROUP_EVENTS = Path("/sys/fs/cgroup/memory.events")


class BatchSize:
    """How many recordings a step has; remembered in the training's folder: a rescued run need not fail first."""

    def __init__(self, folder: Path, asked: int) -> None:
        self._file = folder / FILE
        self.asked = asked
        self.used = asked
        if self._file.exists():
            remembered = orjson.loads(self._file.read_bytes())
            if remembered["asked"] == asked:
                self.used = remembered["used"]

    def run(self, train: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
        """Train with the batch that was asked for, and once more with half of it when memory does not suffice."""
        try:
            return train(self.used)
        except SovitsError as error:
            if error.code != OUT_OF_MEMORY or self.used < self.asked or self.used == 1:
                raise
            self.used = self.asked // 2
            logger.warning("%s Trying again with %s", error.message, self.note)
        self._remember()
        return train(self.used)

    @property
    def note(self) -> str:
        """What happened, for the outputs; empty when nothing did."""
        if self.used == self.asked:
            return ""
        return f"batch_size {self.used}: {self.asked} did not fit into memory."

    def _remember(self) -> None:
        making = self._file.with_suffix(".making")
        making.write_bytes(orjson.dumps({"asked": self.asked, "used": self.used}))
        making.replace(self._file)


def kernel_kills() -> int:
    """How many processes the kernel has killed here for want of memory; 0 where it does not say."""
    try:
        lines = CGROUP_EVENTS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
