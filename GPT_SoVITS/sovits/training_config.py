"""The configuration of one training run of a SoVITS model, as its RUN.json gives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from common.json_types import JsonObject
from GPT_SoVITS.training.config import TrainingConfig


@dataclass(frozen=True, slots=True)
class RecordingTrainingConfig(TrainingConfig):
    """A training on recordings: that of every SoVITS version."""

    CHOICES: ClassVar[dict[str, tuple[str | None, ...]]] = TrainingConfig.CHOICES | {"source": ("auto", "codes", "ssl")}

    source: Literal["auto", "codes", "ssl"] = "auto"
    """The content to learn from: the stored tokens (file 6), the content features (folder 4), or the first of these
    that the training set has."""


@dataclass(frozen=True, slots=True)
class SoVITSTrainingConfig(RecordingTrainingConfig):
    """`compat="reference"` repeats upstream's comparison of mels at the edges of a segment."""

    PATHS: ClassVar[tuple[str, ...]] = (*TrainingConfig.PATHS, "base_discriminator")

    base_discriminator: Path | None = None
    text_low_lr_rate: float | None = None
    """Share of the learning rate for the text side; None takes the recipe's."""

    @property
    def train_changes(self) -> JsonObject:
        """Changes to the recipe's `train` section."""
        low: JsonObject = {} if self.text_low_lr_rate is None else {"text_low_lr_rate": self.text_low_lr_rate}
        return low | self.train
