"""The plan of one training of stage 1, as its RUN.json says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from GPT_SoVITS.training.config import TrainingConfig


@dataclass(frozen=True, slots=True)
class GPTTrainingConfig(TrainingConfig):
    """`compat="reference"` repeats the reference's mask, accumulation and learning rates, with their defects."""

    FLAGS: ClassVar[tuple[str, ...]] = (*TrainingConfig.FLAGS, "dpo")

    dpo: bool = False
    """Whether the preference over damaged rows is added."""
