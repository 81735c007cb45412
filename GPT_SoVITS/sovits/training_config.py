"""The plan of one training of stage 2, as its RUN.json says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from GPT_SoVITS.training.config import TrainingConfig


@dataclass(frozen=True, slots=True)
class SoVITSTrainingConfig(TrainingConfig):
    """`compat="reference"` repeats the reference's comparison of mels at the edges of a segment."""

    PATHS: ClassVar[tuple[str, ...]] = (*TrainingConfig.PATHS, "base_discriminator")
    CHOICES: ClassVar[dict[str, tuple[str | None, ...]]] = TrainingConfig.CHOICES | {"source": ("auto", "codes", "ssl")}

    base_discriminator: Path | None = None
    text_low_lr_rate: float | None = None
    """Share of the learning rate for the text side; None takes the recipe's."""
    source: Literal["auto", "codes", "ssl"] = "auto"
    """What is learned from: the stored tokens (file 6), the content features (folder 4), or the first of these that
    the training set has."""

    def train_changes(self) -> dict[str, Any]:
        """What this plan changes in the recipe's `train` part."""
        low = {} if self.text_low_lr_rate is None else {"text_low_lr_rate": self.text_low_lr_rate}
        return low | self.train
