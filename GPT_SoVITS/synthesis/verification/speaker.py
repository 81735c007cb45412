"""Whether the voice of an utterance is that of its prompt."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from GPT_SoVITS.audio import resample
from GPT_SoVITS.features.resemblyzer import SAMPLE_RATE, SpeakerEncoder, similarity
from GPT_SoVITS.synthesis.verification.faults import Fault, FaultKind

LEAST_SIMILARITY = 0.65
"""Below, another speaker is heard: two speakers are at 0.57 at the median, at 0.7 at most nine times of ten; sentences
of a voice and its prompt above 0.75."""
SHORTEST_SECONDS = 1.5
"""Less speech does not tell a speaker."""
REFERENCE_SECONDS = 30


class VoiceComparison(NamedTuple):
    """Whose voice is heard."""

    similarity: float | None
    """From -1 to 1; None where too little is heard."""
    faults: list[Fault]


def prompt_vector(encoder: SpeakerEncoder, samples: np.ndarray) -> np.ndarray | None:
    """Return the speaker of a prompt (N,) at `SAMPLE_RATE`; None of one that is silent."""
    samples = samples[: REFERENCE_SECONDS * SAMPLE_RATE]
    return encoder.embed(samples) if np.any(samples) else None


def compare_speaker(
    encoder: SpeakerEncoder, prompt: np.ndarray | None, samples: np.ndarray, rate: int
) -> VoiceComparison:
    """Compare the speaker of samples (N,) with that of a prompt."""
    seconds = len(samples) / rate
    if prompt is None or seconds < SHORTEST_SECONDS or not np.any(samples):
        return VoiceComparison(None, [])
    value = similarity(encoder.embed(resample(samples, rate, SAMPLE_RATE)), prompt)
    return VoiceComparison(value, [Fault(FaultKind.OTHER_VOICE, 0.0, seconds)] if value < LEAST_SIMILARITY else [])
