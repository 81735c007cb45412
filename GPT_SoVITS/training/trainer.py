"""The training loop that all trainers share: epochs, checkpoints, stopping and resuming.

A trainer says what a step is and what its state is. Its constructor sets everything up and ends with `prepare`:

    class MyTrainer(BaseTrainer[Work]):
        kind = "sovits"

        def __init__(self, config, emit, stop):
            super().__init__(config, emit, stop)
            …
            self.prepare(fingerprint(…))

    trainer = MyTrainer(TrainingConfig.read(path), emit, stop)
    if trainer.fit():
        trainer.finish()
"""

from __future__ import annotations

import logging
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from common.json_types import JsonObject
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.training.config import TrainingConfig
from GPT_SoVITS.training.control import ends_early
from GPT_SoVITS.training.distributed import init_process_group
from GPT_SoVITS.training.plots import plot_losses
from GPT_SoVITS.training.precision import FIRST_SCALE, Precision, choose_precision
from GPT_SoVITS.training.resume import METRICS, RunRecorder, TrainerState, TrainingProgress, settings_of
from GPT_SoVITS.training.tensorboard import TensorBoardLog
from GPT_SoVITS.training.timer import Timer

logger = logging.getLogger(__name__)

LOSS_PICTURE = "loss.png"

Work = TypeVar("Work")


class Emit(Protocol):
    """A receiver of events, such as the program's standard output."""

    def __call__(self, event: str, /, **fields: object) -> None: ...


class StepResult(NamedTuple):
    """The losses of one step."""

    losses: dict[str, float]
    """By name, averaged over the processes."""
    weight: float = 1.0
    """In the epoch's means."""


class AudioSample(NamedTuple):
    """Audio for the event files."""

    name: str
    wave: Tensor
    """(N,) in [-1, 1]."""
    rate: int


class BaseTrainer(ABC, Generic[Work]):
    """A training of one network, in one process or as one of several. `Work` is what one step reads."""

    kind: ClassVar[str]
    """Of the checkpoints: `gpt` or `sovits`."""
    recipe: Recipe
    """The recipe with the base's dimensions and the config's changes; stored with the weights."""

    def __init__(self, config: TrainingConfig, emit: Emit, stop: threading.Event) -> None:
        """Join the other processes and seed; the networks are built after this, equal in every process.

        A `TrainingControl` as `stop` can also request an end with the current epoch.
        """
        self.config, self.stop = config, stop
        torch.set_num_threads(config.threads)
        self.group = init_process_group(config.device)
        self.device = self.group.device
        self.emit: Emit = emit if self.group.main else _discard_output
        self.timer = Timer()
        torch.manual_seed(config.seed)

    # What a trainer defines

    @property
    @abstractmethod
    def main_loss(self) -> str:
        """Name of the loss that measures the progress."""

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""

    @abstractmethod
    def steps(self, epoch: int) -> Sequence[Work]:
        """Return the work of each step of an epoch, which counts from 0."""

    @abstractmethod
    def step(self, work: Work, following: Work | None) -> StepResult:
        """Learn from the work of one step; `following` is that of the next step of this epoch, to be prefetched."""

    def rates(self) -> dict[str, float]:
        """Return the learning rates of the last step, by name."""
        return {}

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """Return the weights that a checkpoint holds."""

    @abstractmethod
    def state(self) -> TrainerState:
        """Return everything that the rest of the run depends on, except the progress and the random generators.

        All processes call this; it may reduce what they hold.
        """

    @abstractmethod
    def load_state(self, state: TrainerState) -> None:
        """Restore what `state` returned."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the official file of the epoch that has just ended, for `export_official`."""

    def audio_samples(self) -> Iterable[AudioSample]:
        """Yield audio that the network makes at the end of an epoch."""
        return ()

    def report(self) -> JsonObject:
        """Return the trainer's own part of the metrics of the `done` event."""
        return {}

    # What all trainers share

    def prepare(self, run_fingerprint: str) -> None:
        """Open the output folder and resume an earlier run of the same fingerprint.

        Raises:
            ModelError: "no_updates": the configured epochs make no update.
        """
        if self.planned_updates == 0:
            raise ModelError(
                "no_updates",
                f"{self.config.epochs} epochs of {self.steps_per_epoch} batches make no update at all.",
                hint="Ask for more epochs, or for smaller batches.",
            )
        if self.group.rank:  # the main process draws what a lone process draws
            torch.manual_seed(self.config.seed + self.group.rank)
        self.recorder = RunRecorder(
            self.config.output, run_fingerprint, self.group, settings_of(self.config, self.recipe)
        )
        state = self.recorder.resume()
        if state is not None:
            self.load_state(state)
        elif self.recorder.changed is not None:
            self.emit("begins_anew", changed=self.recorder.changed)
        self.log = TensorBoardLog(self.config.output if self.group.main else None, self.progress.step)

    def make_precision(self, width: int, *, first_scale: float = FIRST_SCALE) -> Precision:
        """Return the configured precision, or what suits layers of this width; the main process decides for all."""
        name = self.group.gather(choose_precision(self.config.precision, self.device, width))[0]
        required = self.config.precision != "auto"
        return Precision(name, self.device, first_scale=first_scale, required=required)

    @property
    def progress(self) -> TrainingProgress:
        """How far the training is."""
        return self.recorder.progress

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.config.epochs * self.steps_per_epoch

    @property
    def planned_updates(self) -> int:
        """Updates of the whole training; 0 would leave the weights as they are."""
        return self.total_steps

    def fit(self) -> bool:
        """Train until the configured number of epochs, or to the end of the current one when an early end is requested.

        Returns:
            False when a stop was requested; the state is then saved.
        """
        with self.recorder, closing(self.log):
            while self.progress.epoch < self.config.epochs and not self.progress.ended:
                steps = self.steps(self.progress.epoch)
                while self.progress.batch < len(steps):
                    stops, saves = self.group.any(self.stop.is_set(), self.recorder.is_due(self.config.save_minutes))
                    if stops or saves:
                        self.recorder.save(self.state())
                    if stops:
                        return False
                    self._run_step(
                        steps[self.progress.batch], *steps[self.progress.batch + 1 : self.progress.batch + 2]
                    )
                self._end_epoch()
        logger.info("Loading data took %.1f %% of the time.", 100 * self.timer.share)
        return True

    def finish(self) -> None:
        """Save the last checkpoint, emit `done` with all checkpoints and metrics, and draw the losses."""
        path = self.checkpoint_path(self.progress.epoch)
        if self.group.main and not path.exists():
            self._save_checkpoint(path)
        losses = [means[self.main_loss] for means in self.progress.history]
        metrics = {
            "final_loss": losses[-1],
            "best_epoch": losses.index(min(losses)) + 1,
            "best_loss": min(losses),
            "epochs": self.progress.epoch,
            "steps": self.progress.step,
            "history": [{"epoch": epoch, **means} for epoch, means in enumerate(self.progress.history, start=1)],
        }
        checkpoints = [
            {"epoch": epoch, "path": str(self.checkpoint_path(epoch)), "loss": losses[epoch - 1]}
            for epoch in sorted({*self.progress.saved, self.progress.epoch})
        ]
        self.emit("done", checkpoint=str(path), checkpoints=checkpoints, metrics=metrics | self.report())

    def draw_losses(self) -> None:
        """Draw the losses beside `metrics.jsonl`, where matplotlib is installed."""
        if not self.group.main:
            return
        try:
            plot_losses(self.config.output / METRICS, self.config.output / LOSS_PICTURE)
        except ImportError:
            logger.info("matplotlib is not installed, so there is no picture of the losses.")

    def checkpoint_path(self, epoch: int) -> Path:
        """Return where the checkpoint of an epoch is, counted from 1."""
        return self.config.output / f"{self.kind}-e{epoch}.safetensors"

    def _run_step(self, work: Work, following: Work | None = None) -> None:
        """Take a step and record it. Raise ModelError("diverged") for a loss that is not finite."""
        losses, weight = self.step(work, following)
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise ModelError(
                    "diverged",
                    f"The {name} loss of step {self.progress.step + 1} is {loss}.",
                    hint="A smaller learning rate helps; so does a look at the training set.",
                )
        self.progress.advance(losses, weight)
        self.recorder.write_metrics(
            {"epoch": self.progress.epoch + 1, "step": self.progress.step, **losses, **self.rates()}
        )
        self.log.add_step(self.progress.step, losses | self.rates())
        self.emit(
            "progress",
            epoch=self.progress.epoch + 1,
            total_epochs=self.config.epochs,
            step=self.progress.step,
            total_steps=self.total_steps,
            loss=losses[self.main_loss],
            metrics={**losses, **self.rates()},
            fraction=self.progress.step / self.total_steps,
        )

    def _end_epoch(self) -> None:
        means = self.progress.end_epoch()
        epoch = self.progress.epoch
        self.log.add_epoch(epoch, means)
        if self.log.enabled:
            for name, wave, rate in self.audio_samples():
                self.log.add_audio(epoch, name, wave, rate)
        (self.progress.ended,) = self.group.any(ends_early(self.stop))
        # The checkpoint comes before the state: a crash between them repeats the epoch and writes it again.
        if self.progress.ended or epoch % self.config.save_every_epoch == 0 or epoch == self.config.epochs:
            self.progress.saved.append(epoch)
            if self.group.main:
                path = self.checkpoint_path(epoch)
                self._save_checkpoint(path)
                if self.config.export_official:
                    self.export(self.config.output)
                self.emit("checkpoint", epoch=epoch, path=str(path))
        self.recorder.save(self.state())
        self.emit("epoch", epoch=epoch, total_epochs=self.config.epochs, loss=means[self.main_loss], losses=means)

    def _save_checkpoint(self, path: Path) -> None:
        save_checkpoint(
            path,
            Checkpoint(
                kind=self.kind,
                version=self.config.version,
                config=self.recipe,
                state=self.weights(),
                info={
                    "epoch": self.progress.epoch,
                    "step": self.progress.step,
                    "loss": self.progress.history[-1][self.main_loss],
                },
            ),
        )


def _discard_output(event: str, /, **fields: object) -> None:
    """Drop an event: only the main process reports."""
