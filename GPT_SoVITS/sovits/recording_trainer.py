"""What the trainers of all SoVITS versions share: steps over batches of recordings, and what they report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Generic, TypeVar

from common.json_types import JsonObject
from GPT_SoVITS.sovits.recordings import RecordingBatches, StepEntries
from GPT_SoVITS.training.precision import Precision
from GPT_SoVITS.training.trainer import BaseTrainer

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


class RecordingTrainer(BaseTrainer[StepEntries], Generic[Item]):
    """A trainer of SoVITS, whose constructor sets `batches` and `precision`."""

    kind = "sovits"
    batches: RecordingBatches[Item]
    precision: Precision
    rate = 0.0
    """The learning rate of the last step."""

    @property
    def steps_per_epoch(self) -> int:
        """Updates of an epoch."""
        return self.batches.steps_per_epoch

    def steps(self, epoch: int) -> Sequence[StepEntries]:
        """Return the recordings of each update of an epoch, which counts from 0."""
        return self.batches.steps(epoch)

    def rates(self) -> dict[str, float]:
        """Return the learning rate of the last step."""
        return {"learning_rate": self.rate}

    def report(self) -> JsonObject:
        """Return the trainer's own part of the metrics of the `done` event."""
        return {
            "final_losses": self.progress.history[-1],
            "recordings": len(self.batches.recordings),
            "left_out": self.batches.left_out,
            "precision": self.precision.name,
        }

    def log_size(self) -> None:
        """Log how much there is to do."""
        logger.info(
            "Training on %d recordings, %d batches of %d an epoch, %d updates in all, in %s.",
            len(self.batches.recordings), len(self.batches.sampler), self.config.batch_size, self.total_steps,
            self.precision.name,
        )  # fmt: skip
