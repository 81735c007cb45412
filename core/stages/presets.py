"""Qualities of tasks, and stages that experts often run together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.errors import NotFound
from core.stages.parameters import StageOverrides
from core.stages.stage import TASKS_SERVICE_STAGES

QUALITIES: Final[dict[str, StageOverrides]] = {
    "fast": {"sovits_train": {"total_epoch": 4}, "gpt_train": {"total_epoch": 8}},
    "standard": {"sovits_train": {"total_epoch": 8}, "gpt_train": {"total_epoch": 15}},
    "high": {"sovits_train": {"total_epoch": 16}, "gpt_train": {"total_epoch": 30}},
}
"""Quality → stage → parameters that differ from the defaults."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Stages that experts often run together."""

    id: str
    title: str
    description: str
    stages: tuple[str, ...]
    """Those that clients know; what these need beside them runs, too."""


PRESETS: Final = (
    Preset("full_training", "完整训练流程", "Everything from the recording to both models.", TASKS_SERVICE_STAGES),
    Preset(
        "retrain_sovits",
        "重训 SoVITS",
        "Train the SoVITS model again on the features that are there.",
        ("sovits_train",),
    ),
    Preset(
        "feature_extraction",
        "特征提取",
        "Everything that training reads, from the recording to the semantic tokens.",
        TASKS_SERVICE_STAGES[:5],
    ),
)


def find_preset(name: str) -> Preset:
    """Return the preset of that id.

    Raises:
        NotFound: lists the names.
    """
    for preset in PRESETS:
        if preset.id == name:
            return preset
    raise NotFound(f"no preset named {name!r}", hint=f"Presets: {', '.join(preset.id for preset in PRESETS)}.")
