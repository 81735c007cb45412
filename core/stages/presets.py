"""Qualities of tasks, and stages that experts often run together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.errors import NotFound
from core.stages.parameters import StageOverrides
from core.stages.stage import STAGES

QUALITIES: Final[dict[str, StageOverrides]] = {
    "fast": {"sovits_train": {"total_epoch": 4}, "gpt_train": {"total_epoch": 8}},
    "standard": {"sovits_train": {"total_epoch": 8}, "gpt_train": {"total_epoch": 15}},
    "high": {"sovits_train": {"total_epoch": 16}, "gpt_train": {"total_epoch": 30}},
}
"""Quality → stage → parameters that differ from the defaults."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Stages that experts often run together."""

    name: str
    description: str
    stages: tuple[str, ...]


PRESETS: Final = (
    Preset(
        "full_training",
        "Everything from the recording to both models.",
        tuple(name for name in STAGES if name != "test_inference"),
    ),
    Preset("retrain_sovits", "Train the SoVITS model again on the features that are there.", ("sovits_train",)),
    Preset(
        "feature_extraction",
        "Everything that training reads, from recordings already cut.",
        ("asr", "text_feature", "hubert_feature", "speaker_vector", "semantic_token"),
    ),
)


def find_preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        NotFound: lists the names.
    """
    for preset in PRESETS:
        if preset.name == name:
            return preset
    raise NotFound(f"no preset named {name!r}", hint=f"Presets: {', '.join(preset.name for preset in PRESETS)}.")
