"""A checkpoint in memory: weights and what is needed to build the network that they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

KINDS = (
    "gpt",
    "sovits",
    "discriminator",
    "hubert",
    "roberta",
    "speaker_vector",
    "vocoder",
    "super_resolution",
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights by name, with the configuration of their network."""

    kind: str
    """One of KINDS."""
    version: str
    """Empty for networks that all versions share."""
    config: dict[str, Any]
    state: dict[str, Tensor]
    info: dict[str, Any] = field(default_factory=dict)
    """What the writer noted: epoch, step, losses; `official` is the text of an official file."""
