"""How a text is sampled and cut: the options that every speech route takes."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from common.limits import (
    MAX_CHUNK_OVERLAP,
    MAX_FRAGMENT_INTERVAL,
    MAX_MIN_CHUNK_LENGTH,
    MAX_REPETITION_PENALTY,
    MAX_SAMPLE_STEPS,
    MAX_TEMPERATURE,
    MAX_TOP_K,
)

SplitMethod = Literal["cut0", "cut1", "cut2", "cut3", "cut4", "cut5"]
"""Upstream's ways to cut a text: not at all, after four sentences, after fifty characters, at 。, at full stops, at all
punctuation. Lines and what no model says in one breath are cut by each."""
SPLIT_METHODS: Final[tuple[SplitMethod, ...]] = get_args(SplitMethod)

TopK = Annotated[int, Field(ge=1, le=MAX_TOP_K)]
TopP = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(ge=0, le=MAX_TEMPERATURE)]
RepetitionPenalty = Annotated[float, Field(gt=0, le=MAX_REPETITION_PENALTY)]
SampleSteps = Annotated[int, Field(ge=1, le=MAX_SAMPLE_STEPS)]
FragmentInterval = Annotated[float, Field(ge=0, le=MAX_FRAGMENT_INTERVAL)]
MinChunkLength = Annotated[int, Field(ge=1, le=MAX_MIN_CHUNK_LENGTH)]
OverlapLength = Annotated[int, Field(ge=1, le=MAX_CHUNK_OVERLAP)]


class SamplingOptions(BaseModel):
    """How an utterance is sampled and decoded. None leaves an option to the voice's model."""

    model_config = ConfigDict(frozen=True)

    top_k: TopK | None = None
    """Number of likeliest tokens that are kept; 1 takes the likeliest one."""
    top_p: TopP | None = None
    """Cumulative probability that is kept."""
    temperature: Temperature | None = None
    repetition_penalty: RepetitionPenalty | None = None
    sample_steps: SampleSteps | None = None
    """Steps of the sampler of v3 and v4; the other versions have none."""
    super_sampling: bool | None = None
    """Whether to extend v3's audio from 24 kHz to 48 kHz, where the network for it is installed."""
    fragment_interval: FragmentInterval | None = None
    """Seconds of silence after an utterance."""
    min_chunk_length: MinChunkLength | None = None
    """Semantic tokens of a chunk at least, where the audio of an utterance is streamed."""
    overlap_length: OverlapLength | None = None
    """Semantic tokens that consecutive chunks of a stream share."""
