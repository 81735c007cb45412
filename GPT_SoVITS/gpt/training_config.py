"""The configuration of one training run of a GPT, as its RUN.json gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from GPT_SoVITS.training.config import TrainingConfig


@dataclass(frozen=True, slots=True)
class GPTTrainingConfig(TrainingConfig):
    """`compat="reference"` repeats upstream's mask, gradient accumulation and learning rates, with their defects."""

    FLAGS: ClassVar[tuple[str, ...]] = (*TrainingConfig.FLAGS, "dpo")

    dpo: bool = False
    """Whether a preference over damaged token sequences is added to the loss."""
