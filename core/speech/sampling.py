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
from core.speech.verification import VerifyMode

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


PAUSE_SECONDS: Final = 0.3
"""Silence after an utterance (inference-pipeline §1, fragment_interval)."""


class SamplingOptions(BaseModel):
    """How an utterance is sampled and decoded. None leaves an option to the voice's model.

    Requests inherit the fields from here: the descriptions are those of the API's documentation.
    """

    model_config = ConfigDict(frozen=True)

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
    verify: VerifyMode | None = Field(
        None,
        description="How the speech is verified before it is sent: `fast` (default) finds skipped and repeated words, "
        "babble, silence and ends that are cut off, and speaks again what is wrong; `asr` also compares the words that "
        "a recognizer hears, sentence by sentence, for those who can wait; `off` does nothing.",
    )
    verify_speaker: bool | None = Field(
        None,
        description="Compare the voice of each sentence with that of the prompt, too, speak it again where it is "
        "another one, and report `speaker_similarity`; each sentence is sent when all of it was compared.",
    )

    @property
    def pause_seconds(self) -> float:
        """Seconds of silence after an utterance."""
        return PAUSE_SECONDS if self.fragment_interval is None else self.fragment_interval

    def sampling_options(self) -> SamplingOptions:
        """Return these fields alone, as jobs carry them."""
        return SamplingOptions(**{name: getattr(self, name) for name in SamplingOptions.model_fields})
