"""The plan of one training of v3 or v4, as its RUN.json says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from GPT_SoVITS.training.config import TrainingConfig


@dataclass(frozen=True, slots=True)
class FlowMatchingTrainingConfig(TrainingConfig):
    """`base` is needed: the official file of the version, or a whole fine-tuned one. `compat="reference"` lets
    padding act on the frames beside it, as the reference does."""

    LEAST: ClassVar[dict[str, int]] = TrainingConfig.LEAST | {"lora_rank": 1}
    CHOICES: ClassVar[dict[str, tuple[str | None, ...]]] = TrainingConfig.CHOICES | {
        "version": ("v3", "v4"),
        "method": ("lora", "full"),
        "source": ("auto", "codes", "ssl"),
    }

    method: Literal["lora", "full"] = "lora"
    """Whether the transformer learns low-rank changes, or all of its weights."""
    lora_rank: int = 32
    """16, 32, 64 and 128 are usual."""
    source: Literal["auto", "codes", "ssl"] = "auto"
    """What is learned from: the stored tokens (file 6), the content features (folder 4), or the first of these that
    the training set has."""

    @property
    def rank(self) -> int | None:
        """Of the low-rank changes; None where there are none."""
        return self.lora_rank if self.method == "lora" else None
