"""The configuration of one training run of v3 or v4, as its RUN.json gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from GPT_SoVITS.sovits.training_config import RecordingTrainingConfig


@dataclass(frozen=True, slots=True)
class FlowMatchingTrainingConfig(RecordingTrainingConfig):
    """`base` is required: the official file of the version, or a whole fine-tuned one.

    `compat="reference"` lets padding act on the frames beside it, as upstream does.
    """

    LEAST: ClassVar[dict[str, int]] = RecordingTrainingConfig.LEAST | {"lora_rank": 1}
    CHOICES: ClassVar[dict[str, tuple[str | None, ...]]] = RecordingTrainingConfig.CHOICES | {
        "version": ("v3", "v4"),
        "method": ("lora", "full"),
    }

    method: Literal["lora", "full"] = "lora"
    """Whether the transformer learns low-rank changes, or all of its weights."""
    lora_rank: int = 32
    """16, 32, 64 and 128 are usual."""

    @property
    def rank(self) -> int | None:
        """Rank of the low-rank changes; None where there are none."""
        return self.lora_rank if self.method == "lora" else None
