"""Memory of a training: a batch that does not fit is halved once, and the outputs say so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import orjson

from common.files import write_atomically
from core.errors import SovitsError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

FILE: Final = "smaller_batch.json"
OUT_OF_MEMORY: Final = "out_of_memory"
CGROUP_EVENTS = Path("/sys/fs/cgroup/memory.events")


class BatchSize:
    """Recordings in a training step; a halved one is kept in the training's folder for a rescued run."""

    def __init__(self, folder: Path, requested: int) -> None:
        self._file = folder / FILE
        self.requested = requested
        self.used = requested
        if self._file.exists():
            remembered = orjson.loads(self._file.read_bytes())
            if remembered["asked"] == requested:
                self.used = remembered["used"]

    def run(self, train: Callable[[int], Result]) -> Result:
        """Train with the requested batch size, and once more with half of it when memory does not suffice."""
        try:
            return train(self.used)
        except SovitsError as error:
            if error.code != OUT_OF_MEMORY or self.used < self.requested or self.used == 1:
                raise
            self.used = self.requested // 2
            logger.warning("%s Trying again with %s", error.message, self.note)
        write_atomically(self._file, orjson.dumps({"asked": self.requested, "used": self.used}))
        return train(self.used)

    @property
    def note(self) -> str:
        """A sentence about the halved batch; empty when it was not halved."""
        if self.used == self.requested:
            return ""
        return f"batch_size {self.used}: {self.requested} did not fit into memory."


def kernel_kills() -> int:
    """Return how many processes of this control group the kernel has killed for lack of memory; 0 if unknown."""
    try:
        lines = CGROUP_EVENTS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
