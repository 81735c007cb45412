"""Memory of a training: what does not fit is halved, then computed twice, and the outputs say so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import orjson

from common.files import write_atomically
from core.errors import SovitsError, error_from_code

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

FILE: Final = "smaller_batch.json"
OUT_OF_MEMORY: Final = "out_of_memory"
CGROUP_EVENTS = Path("/sys/fs/cgroup/memory.events")


class BatchSize:
    """Recordings in a training step; what had to be changed is kept in the training's folder for a rescued run."""

    def __init__(self, folder: Path, requested: int, *, grad_ckpt: bool = False) -> None:
        self._file = folder / FILE
        self.requested = requested
        self.used = requested
        self.grad_ckpt = grad_ckpt
        """Whether activations are computed a second time for the gradient."""
        self._without_grad_ckpt = not grad_ckpt
        if self._file.exists():
            remembered = orjson.loads(self._file.read_bytes())
            if remembered["asked"] == requested:
                self.used = remembered["used"]
                self.grad_ckpt = grad_ckpt or remembered.get("grad_ckpt", False)

    def run(self, train: Callable[[int, bool], Result], release_memory: Callable[[], bool] = lambda: False) -> Result:
        """Train with this batch size and `grad_ckpt`.

        While memory does not suffice, train again: in the same way where `release_memory` could release some, else with
        half of the batch, then with a batch of one and `grad_ckpt`. Raise "out_of_memory" when that does not fit.
        """
        while True:
            try:
                return train(self.used, self.grad_ckpt)
            except SovitsError as error:
                if error.code != OUT_OF_MEMORY:
                    raise
                if release_memory():
                    logger.warning("%s Trying again while nothing is evaluated.", error.message)
                    continue
                if self.used == 1 and self.grad_ckpt:
                    raise error_from_code(
                        OUT_OF_MEMORY,
                        "The training does not fit into memory, not even with batch_size 1 and grad_ckpt.",
                        hint="Free some memory, or train on another device (cpu) or from shorter segments.",
                        details={"last_error": error.message},
                        permanent=True,
                    ) from error
                if self.used > 1:
                    self.used //= 2
                else:
                    self.grad_ckpt = True
                logger.warning("%s Trying again with %s", error.message, self.note)
            kept = {"asked": self.requested, "used": self.used, "grad_ckpt": self.grad_ckpt}
            write_atomically(self._file, orjson.dumps(kept))

    @property
    def note(self) -> str:
        """A sentence about what was changed; empty when nothing was."""
        changes = [f"batch_size {self.used}"] if self.used != self.requested else []
        changes += ["grad_ckpt"] if self.grad_ckpt and self._without_grad_ckpt else []
        if not changes:
            return ""
        before = self.requested if self.used != self.requested else f"batch_size {self.requested}"
        return f"{' and '.join(changes)}: {before} did not fit into memory."


def kernel_kills() -> int:
    """Return how many processes of this control group the kernel has killed for lack of memory; 0 if unknown."""
    try:
        lines = CGROUP_EVENTS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
