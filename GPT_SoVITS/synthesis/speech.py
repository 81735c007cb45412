"""What synthesis gives: audio, and where its words are in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.synthesis.conditioning import ConditionedRequest
from GPT_SoVITS.synthesis.word_timing import SpokenWord


@dataclass(frozen=True, slots=True)
class Speech:
    """The audio of an utterance, or of a chunk of one."""

    samples: np.ndarray
    """(N,) float32 in [-1, 1]."""
    sample_rate: int
    """Hz."""
    tokens: int
    """Semantic tokens that the first stage generated, 25 to the second."""
    skipped: list[tuple[int, str]] = field(default_factory=list)
    """(position, text) of the passages that have no pronunciation."""
    words: tuple[SpokenWord, ...] = ()
    """Those that end in it."""


def nothing_spoken(utterance: ConditionedRequest) -> ModelError:
    """Return the error for an utterance of no tokens."""
    return ModelError(
        "nothing_spoken",
        f"The model ended before the first sound of {utterance.request.text[:40]!r}.",
        permanent=False,
    )
