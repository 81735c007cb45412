"""A training as a child process: its progress and checkpoints are recorded, and control requests reach it."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

from common.operating_system import USER_SIGNAL
from common.progress_messages import progress_message
from core.child_process import ChildProcess
from core.errors import Draining, TrainingFailed, error_from_code
from core.jobs.service_counts import TRAINING_SECONDS, TRAINING_STEPS, labeled
from roles.runtime.errors import error_from_report
from roles.stages.stage_run import PROGRESS_SECONDS, StageRun
from roles.training.checkpoint_evaluator import CheckpointEvaluator
from roles.training.checkpoints import CheckpointRow
from roles.training.control import ControlRequests, Paused
from roles.training.memory import OUT_OF_MEMORY, kernel_kills
from roles.training.program import (
    POLL_SECONDS,
    EpochEvent,
    ErrorEvent,
    StepEvent,
    TrainingDoneEvent,
    TrainingEvent,
    start_program,
)

logger = logging.getLogger(__name__)

STOPPED_TO_RESUME: Final = 75
"""Exit code of a training that saved its state because it was asked to stop (EX_TEMPFAIL)."""

TOP3_ACCURACY: Final = "top3_accuracy"
"""The share of semantic tokens that the GPT has among its three likeliest ones, as its trainer counts it."""
PublishCheckpoint = Callable[[int, Path], CheckpointRow]
"""(epoch, file) of a checkpoint that has just been written."""


class TrainingProcess:
    """One run of a training program for one job."""

    def __init__(
        self,
        module: str,
        plan: Path,
        run: StageRun,
        *,
        publish: PublishCheckpoint,
        evaluator: CheckpointEvaluator | None = None,
        share: float = 1.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Describe it; `evaluator` gets each checkpoint that is published.

        `share`: how much of the stage's progress the training is, 0–1; `environment`: changes to this process's.
        """
        self._module = module
        self._plan = plan
        self._run = run
        self._publish = publish
        self._evaluator = evaluator
        self._share = share
        self._environment = environment
        self._requests = ControlRequests(run)
        self._done: TrainingDoneEvent | None = None
        self._error: ErrorEvent | None = None
        self._stopping = False
        self._ending_early = False
        self._progress_at = float("-inf")
        self._step = -1
        """The last one, and when it was taken."""
        self._step_at = 0.0
        self._best_accuracy = 0.0

    def run_to_end(self) -> TrainingDoneEvent:
        """Run the program and return its last event.

        Raises what it reported, Draining or Paused when it saved its state to be continued, else TrainingFailed.
        """
        kills_before = kernel_kills()
        program = start_program(self._module, self._plan, self._run.context, self._environment)
        with self._saving_state(), program as child:
            for event in child.events(POLL_SECONDS):
                if event is not None:
                    self._handle(cast(TrainingEvent, event))
                self._run.context.check()
                self._forward_requests(child)
                if self._evaluator is not None:
                    self._evaluator.poll()
            child.wait()
        self._run.context.check()
        killed_by = self._error.get("killed_by", "") if self._error is not None else child.killed_by
        if killed_by == "SIGKILL" and not self._stopping and kernel_kills() > kills_before:
            message = "The kernel killed the training: there was no memory left."
            raise error_from_code(OUT_OF_MEMORY, message, hint="A smaller batch needs less memory.", permanent=True)
        if self._error is not None:
            raise error_from_report(self._error)
        if child.returncode == 0 and self._done is not None:
            return self._done
        if child.returncode == STOPPED_TO_RESUME or self._stopping:
            if self._requests.poll() == "pause":
                raise Paused("The training saved its state and waits to be resumed.")
            raise Draining("The training saved its state and goes on later.")
        raise TrainingFailed(
            f"The training process {child.describe_exit()}.",
            hint="It goes on from its last saved epoch when it is tried again.",
            details={"log": child.log_tail},
        )

    @contextmanager
    def _saving_state(self) -> Iterator[None]:
        """Let the job save its state, rather than be stopped, when the queue is away for longer than its lease."""
        context = self._run.context
        context.saves_state = True
        try:
            yield
        finally:
            context.saves_state = False

    def _forward_requests(self, child: ChildProcess) -> None:
        """Tell the program to save its state and stop, or to end with the present epoch."""
        request = self._requests.poll()
        context = self._run.context
        if not self._stopping and (request == "pause" or context.draining.is_set() or context.cut_off.is_set()):
            self._stopping = True
            logger.info("Asking the training to save its state.")
            if child.has_reported:
                child.send_signal(signal.SIGTERM)
            else:  # it is still being loaded: what it could save is on the disk already
                child.kill()
        if USER_SIGNAL and request == "stop_after_epoch" and child.has_reported and not self._ending_early:
            self._ending_early = True
            logger.info("Asking the training to end with this epoch.")
            child.send_signal(USER_SIGNAL)

    def _handle(self, event: TrainingEvent) -> None:
        if event["event"] == "progress":
            self._record_progress(event)
        elif event["event"] == "epoch":
            self._record_epoch(event)
            self._run.save_soon()
        elif event["event"] == "checkpoint":
            row = self._publish(event["epoch"], self._plan.parent / event["path"])
            data = {"epoch": row["epoch"], "model_path": row["model_path"], "checkpoint_id": row["checkpoint_id"]}
            self._run.context.event("checkpoint", {"stage": self._run.stage, **data})
            if self._evaluator is not None:
                self._evaluator.submit(row)
        elif event["event"] == "begins_anew":
            changes = "; ".join(
                f"{change['name']} was {change['before']!r} and is {change['now']!r}"
                if change["before"] != change["now"]
                else change["name"]
                for change in event["changed"][:5]
            )
            logger.warning("The training cannot go on from what was saved and begins anew: %s.", changes)
            if self._evaluator is not None:
                self._evaluator.forget()
        elif event["event"] == "done":
            self._done = event
        else:
            self._error = event

    def _record_progress(self, event: StepEvent) -> None:
        """Record progress, at most once in PROGRESS_SECONDS: each time is a transaction."""
        now = time.monotonic()
        if event["step"] > self._step >= 0:  # not the first: what was before it is loading
            stage, counts = self._run.stage, self._run.context.counts
            counts[labeled(TRAINING_STEPS, stage)] += event["step"] - self._step
            counts[labeled(TRAINING_SECONDS, stage)] += now - self._step_at
        self._step, self._step_at = event["step"], now
        if now - self._progress_at < PROGRESS_SECONDS and event["fraction"] < 1.0:
            return
        self._progress_at = now
        numbers: dict[str, float] = {
            **event["metrics"],
            "epoch": event["epoch"],
            "total_epochs": event["total_epochs"],
            "step": event["step"],
            "loss": event["loss"],
        }
        message = progress_message("epoch", epoch=event["epoch"], count=event["total_epochs"])
        self._run.progress(event["fraction"] * self._share, message, **numbers)

    def _record_epoch(self, event: EpochEvent) -> None:
        """Record the means of an epoch, and the best accuracy so far."""
        means = {"loss": event["loss"], "epoch_loss": event["loss"]}
        if (accuracy := event["losses"].get(TOP3_ACCURACY)) is not None:
            self._best_accuracy = max(self._best_accuracy, accuracy)
            means |= {f"epoch_{TOP3_ACCURACY}": accuracy, f"best_{TOP3_ACCURACY}": self._best_accuracy}
        self._run.progress(
            event["epoch"] / event["total_epochs"] * self._share,
            progress_message("epoch_complete", epoch=event["epoch"], count=event["total_epochs"]),
            epoch=event["epoch"],
            total_epochs=event["total_epochs"],
            **means,
        )
