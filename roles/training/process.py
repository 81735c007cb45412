"""A training as a child process: it tells its progress and its checkpoints, and obeys while it runs."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import Draining, TrainingFailed, error_from_code
from roles.stages.stage_role import PROGRESS_SECONDS, StageRun
from roles.training.control import Paused, Wishes
from roles.training.memory import OUT_OF_MEMORY, kernel_kills
from roles.training.program import Program

logger = logging.getLogger(__name__)

STOPPED_TO_RESUME = 75
"""Exit code of a training that saved its state because it was asked to stop (EX_TEMPFAIL)."""

KeepCheckpoint = Callable[[int, Path], object]
"""(epoch, file) of a checkpoint that has just been written."""


class TrainingProcess:
    """One training program, run to its end for one job."""

    def __init__(self, module: str, plan: Path, run: StageRun, *, keep: KeepCheckpoint, share: float = 1.0) -> None:
        """`share` is how much of the stage's progress the training is."""
        self.stage_run = run
        self.program = Program(module, plan, run.context)
        self.wishes = Wishes(run)
        self.done: dict[str, Any] | None = None
        self.failure: dict[str, Any] | None = None
        self._keep = keep
        self._share = share
        self._stopping = False
        self._ending_early = False
        self._told_at = float("-inf")

    def run_to_end(self) -> dict[str, Any]:
        """The program's `done` event. Raises what it reported, Draining or Paused when it stopped to go on later."""
        killed_before = kernel_kills()
        code = self.program.run(self._handle, self._watch)
        self.stage_run.context.check()
        if self.failure is not None:
            failure = self.failure
            raise error_from_code(
                failure["code"],
                failure["message"],
                hint=failure.get("hint", ""),
                permanent=failure.get("permanent", False),
            )
        if code == 0 and self.done is not None:
            return self.done
        if code == STOPPED_TO_RESUME or self._stopping:
            if self.wishes.heard() == "pause":
                raise Paused("The training saved its state and waits to be resumed.")
            raise Draining("The training saved its state and goes on later.")
        if code == -signal.SIGKILL and kernel_kills() > killed_before:
            message = "The kernel killed the training: there was no memory left."
            raise error_from_code(OUT_OF_MEMORY, message, hint="A smaller batch needs less memory.", permanent=True)
        ended = f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise TrainingFailed(
            f"The training process {ended}.",
            hint="It goes on from its last saved epoch when it is tried again.",
            details={"log": self.program.last_words},
        )

    def _watch(self) -> None:
        """Pass on what is asked of the training: a drain, a pause, an end with the present epoch."""
        wish = self.wishes.heard()
        if not self._stopping and (wish == "pause" or self.stage_run.context.draining.is_set()):
            self._stopping = True
            logger.info("Asking the training to save its state.")
            if self.program.heard:
                self.program.ask(signal.SIGTERM)
            else:  # it is still being loaded: what it could save lies on the disk already
                self.program.kill()
        if wish == "stop_after_epoch" and self.program.heard and not self._ending_early:
            self._ending_early = True
            logger.info("Asking the training to end with this epoch.")
            self.program.ask(signal.SIGUSR1)

    def _handle(self, event: dict[str, Any]) -> None:
        kind = event.pop("event")
        if kind == "progress":
            self._tell(event, loss=event["loss"])
        elif kind == "epoch":
            self._told_at = float("-inf")  # an epoch's end is news, however soon it comes
            self.stage_run.save_soon()
        elif kind == "checkpoint":
            self._keep(event["epoch"], Path(event["path"]))
            self.stage_run.context.event(
                "checkpoint", {"epoch": event["epoch"], "model_path": Path(event["path"]).name}
            )
        elif kind == "begins_anew":
            self._say_what_changed(event["changed"])
        elif kind == "done":
            self.done = event
        elif kind == "error":
            self.failure = event

    def _tell(self, event: dict[str, Any], **numbers: Any) -> None:
        """Write progress down, not more often than it is worth a transaction."""
        now = time.monotonic()
        if now - self._told_at < PROGRESS_SECONDS and event["fraction"] < 1.0:
            return
        self._told_at = now
        epoch, total = event["epoch"], event["total_epochs"]
        self.stage_run.progress(
            event["fraction"] * self._share,
            f"Epoch {epoch} of {total}.",
            epoch=epoch,
            total_epochs=total,
            **numbers,
        )

    def _say_what_changed(self, changed: list[dict[str, Any]]) -> None:
        named = "; ".join(
            f"{one['name']} was {one['before']!r} and is {one['now']!r}" if one["before"] != one["now"] else one["name"]
            for one in changed[:5]
        )
        logger.warning("The training cannot go on from what was saved and begins anew: %s.", named)
