"""The loop of every stage's training: its epochs, what they leave behind, and how they stop and go on.

A stage says what a step is and what its state is. Its constructor reads everything and ends with `begin`:

    class Training(BaseTrainer):
        kind, main_loss = "sovits", "mel"

        def __init__(self, plan, emit, stop):
            super().__init__(plan, emit, stop)
            …
            self.begin(fingerprint(…))
"""

from __future__ import annotations

import logging
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.training.config import TrainingConfig
from GPT_SoVITS.training.control import ends_early
from GPT_SoVITS.training.distributed import init_process_group
from GPT_SoVITS.training.plots import plot_losses
from GPT_SoVITS.training.precision import FIRST_SCALE, Precision, choose_precision
from GPT_SoVITS.training.resume import METRICS, RunRecorder, TrainingProgress, settings_of
from GPT_SoVITS.training.tensorboard import TensorBoardLog
from GPT_SoVITS.training.timer import Timer

logger = logging.getLogger(__name__)

PICTURE = "loss.png"

Emit = Callable[..., None]


class BaseTrainer(ABC):
    """A training of any stage, on one process or as one of several."""

    kind: ClassVar[str]
    """Of the checkpoints: `gpt` or `sovits`."""
    main_loss: ClassVar[str]
    """The loss that tells how the training goes."""

    config: dict[str, Any]
    """The recipe with the base's dimensions and the plan's changes; stored with the weights."""

    def __init__(self, plan: TrainingConfig, emit: Emit, stop: threading.Event) -> None:
        """Join the other processes and seed; the models are made after this, equal on every process. A `Control` for
        `stop` can also ask for an end with the present epoch."""
        self.plan, self.stop = plan, stop
        torch.set_num_threads(plan.threads)
        self.group = init_process_group(plan.device)
        self.device = self.group.device
        self.emit: Emit = emit if self.group.main else _say_nothing
        self.timer = Timer()
        torch.manual_seed(plan.seed)

    # What a stage says

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """How many steps an epoch has."""

    @abstractmethod
    def steps(self, epoch: int) -> Sequence[Any]:
        """The work of each step of an epoch, which counts from 0."""

    @abstractmethod
    def step(self, work: Any, following: Any | None) -> tuple[dict[str, float], float]:
        """Learn from one piece of work: its losses, averaged over the processes, and their weight in the epoch's
        means. `following` is the next piece of this epoch, to be loaded ahead of time."""

    def rates(self) -> dict[str, float]:
        """What the step before was taken with, for the record."""
        return {}

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint holds."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything but the place and chance that the rest of the run depends on; all processes are asked."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the official file of the epoch that has just ended, for `export_official`."""

    def sounds(self) -> Iterable[tuple[str, Tensor, int]]:
        """What the model sounds like at the end of an epoch: names, waves (N,) and sampling rates."""
        return ()

    def report(self) -> dict[str, Any]:
        """What the stage adds to the metrics of the `done` event."""
        return {}

    # What every stage does

    def begin(self, mark: str) -> None:
        """Refuse a plan without updates, and go to where an earlier run stopped. `mark` is the plan's fingerprint."""
        if self.planned_updates == 0:
            raise ModelError(
                "no_updates",
                f"{self.plan.epochs} epochs of {self.steps_per_epoch} batches make no update at all.",
                hint="Ask for more epochs, or for smaller batches.",
            )
        if self.group.rank:  # the first one draws as a lone process does
            torch.manual_seed(self.plan.seed + self.group.rank)
        self.journal = RunRecorder(self.plan.output, mark, self.group, settings_of(self.plan, self.config))
        state = self.journal.resume()
        if state is not None:
            self.load_state(state)
        elif self.journal.changed is not None:
            self.emit("begins_anew", changed=self.journal.changed)
        self.log = TensorBoardLog(self.plan.output if self.group.main else None, self.place.step)

    def choose_precision(self, width: int, *, first_scale: float = FIRST_SCALE) -> Precision:
        """What the plan asks for, or what suits layers of this width; the first process decides for all."""
        name = self.group.gather(choose_precision(self.plan.precision, self.device, width))[0]
        return Precision(name, self.device, first_scale=first_scale)

    @property
    def place(self) -> TrainingProgress:
        return self.journal.place

    @property
    def total_steps(self) -> int:
        return self.plan.epochs * self.steps_per_epoch

    @property
    def planned_updates(self) -> int:
        """Updates of the whole training; 0 would leave the weights as they are."""
        return self.total_steps

    def fit(self) -> bool:
        """Train to the end of the plan, or of the epoch when asked so; False when asked to stop before, with the state
        saved."""
        with self.journal, closing(self.log):
            while self.place.epoch < self.plan.epochs and not self.place.ended:
                steps = self.steps(self.place.epoch)
                while self.place.batch < len(steps):
                    if self.group.any(self.stop.is_set()):
                        self.journal.save(self.state())
                        return False
                    self._take_step(steps[self.place.batch], *steps[self.place.batch + 1 : self.place.batch + 2])
                self._end_epoch()
        logger.info("Loading data took %.1f %% of the time.", 100 * self.timer.share)
        return True

    def finish(self) -> None:
        """Say where the checkpoints are and how the training went."""
        path = self.checkpoint_path(self.place.epoch)
        if self.group.main and not path.exists():
            self._save_checkpoint(path)
        losses = [means[self.main_loss] for means in self.place.history]
        metrics = {
            "final_loss": losses[-1],
            "best_epoch": losses.index(min(losses)) + 1,
            "best_loss": min(losses),
            "epochs": self.place.epoch,
            "steps": self.place.step,
            "history": [{"epoch": epoch, **means} for epoch, means in enumerate(self.place.history, start=1)],
        }
        saved = sorted({*self.place.saved, self.place.epoch})
        kept = [
            {"epoch": epoch, "path": str(self.checkpoint_path(epoch)), "loss": losses[epoch - 1]} for epoch in saved
        ]
        self.emit("done", checkpoint=str(path), checkpoints=kept, metrics=metrics | self.report())

    def draw(self) -> None:
        """A picture of the losses beside `metrics.jsonl`, where the package that draws is installed."""
        if not self.group.main:
            return
        try:
            plot_losses(self.plan.output / METRICS, self.plan.output / PICTURE)
        except ImportError:
            logger.info("matplotlib is not installed, so there is no picture of the losses.")

    def checkpoint_path(self, epoch: int) -> Path:
        return self.plan.output / f"{self.kind}-e{epoch}.safetensors"

    def _take_step(self, work: Any, following: Any | None = None) -> None:
        losses, weight = self.step(work, following)
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise ModelError(
                    "diverged",
                    f"The {name} loss of step {self.place.step + 1} is {loss}.",
                    hint="A smaller learning rate helps; so does a look at the training set.",
                )
        self.place.advance(losses, weight)
        self.journal.note({"epoch": self.place.epoch + 1, "step": self.place.step, **losses, **self.rates()})
        self.log.losses(self.place.step, losses | self.rates())
        self.emit(
            "progress",
            epoch=self.place.epoch + 1,
            total_epochs=self.plan.epochs,
            step=self.place.step,
            total_steps=self.total_steps,
            loss=losses[self.main_loss],
            fraction=self.place.step / self.total_steps,
        )

    def _end_epoch(self) -> None:
        means = self.place.end_epoch()
        epoch = self.place.epoch
        self.log.epoch(epoch, means)
        if self.log.writes:
            for name, wave, rate in self.sounds():
                self.log.sound(epoch, name, wave, rate)
        self.place.ended = self.group.any(ends_early(self.stop))
        # The checkpoint comes before the state: a crash between them repeats the epoch and writes it again.
        if self.place.ended or epoch % self.plan.save_every_epoch == 0 or epoch == self.plan.epochs:
            self.place.saved.append(epoch)
            self._keep_epoch(epoch)
        self.journal.save(self.state())
        self.emit("epoch", epoch=epoch, total_epochs=self.plan.epochs, losses=means)

    def _keep_epoch(self, epoch: int) -> None:
        """Write what others may use of the epoch that has just ended."""
        if not self.group.main:
            return
        path = self.checkpoint_path(epoch)
        self._save_checkpoint(path)
        if self.plan.export_official:
            self.export(self.plan.output)
        self.emit("checkpoint", epoch=epoch, path=str(path))

    def _save_checkpoint(self, path: Path) -> None:
        save_checkpoint(
            path,
            Checkpoint(
                kind=self.kind,
                version=self.plan.version,
                config=self.config,
                state=self.weights(),
                info={
                    "epoch": self.place.epoch,
                    "step": self.place.step,
                    "loss": self.place.history[-1][self.main_loss],
                },
            ),
        )


def _say_nothing(event: str, **fields: Any) -> None:
    """Only the first process reports."""
