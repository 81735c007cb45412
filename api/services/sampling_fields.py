"""The fields of speech requests that say how a text is sampled and cut; every speech route takes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from common.audio_formats import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from common.limits import MAX_EXTRA_REFERENCES
from core.speech.sampling import (
    FragmentInterval,
    MinChunkLength,
    OverlapLength,
    RepetitionPenalty,
    SampleSteps,
    SamplingOptions,
    SplitMethod,
    Temperature,
    TopK,
    TopP,
)


class SamplingFields(BaseModel):
    """Sampling settings; what a request leaves out is as the voice's model does it best."""

    top_k: TopK | None = Field(None, description="Number of likeliest tokens that are kept.")
    top_p: TopP | None = Field(None, description="Cumulative probability of the tokens that are kept.")
    temperature: Temperature | None = Field(None, description="Above 1 more varied, below more even.")
    repetition_penalty: RepetitionPenalty | None = Field(None, description="Above 1 repeats less.")
    sample_steps: SampleSteps | None = Field(None, description="Steps of the sampler of v3 and v4.")
    super_sampling: bool | None = Field(None, description="Extend v3's audio to 48 kHz.")
    fragment_interval: FragmentInterval | None = Field(None, description="Seconds of silence after a sentence.")
    min_chunk_length: MinChunkLength | None = Field(
        None, description="Semantic tokens, 25 to the second, of a chunk at least, where a sentence is streamed."
    )
    overlap_length: OverlapLength | None = Field(None, description="Semantic tokens that chunks of a stream share.")
    text_split_method: SplitMethod | None = Field(
        None, description="cut0 to cut5, upstream's ways to cut a text. Default: whole sentences."
    )
    sample_rate: int | None = Field(
        None,
        ge=MIN_SAMPLE_RATE,
        le=MAX_SAMPLE_RATE,
        description="Hz of the audio. Default: as the voice's model speaks.",
    )
    extra_references: Annotated[list[str], Field(max_length=MAX_EXTRA_REFERENCES)] | None = Field(
        None,
        description="More recordings whose style is averaged with the prompt's: `voice`, `voice/prompt` or the id of "
        "an upload. Not for v3 and v4.",
    )

    def sampling_options(self) -> SamplingOptions:
        """Return the fields as jobs carry them."""
        return SamplingOptions(**{name: getattr(self, name) for name in SamplingOptions.model_fields})
