"""The fields of speech requests that say how a text is spoken; the bodies of all speech routes inherit them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api.services.speech import SpeechOptions
from common.audio_formats import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from common.limits import MAX_EXTRA_REFERENCES, MAX_SPEED, MIN_SPEED
from core.seed import Seed
from core.speech.levels import LevelOptions
from core.speech.requests import InputType, PromptRef, Timestamps
from core.speech.sampling import SamplingOptions, SplitMethod

SampleRate = Annotated[int, Field(ge=MIN_SAMPLE_RATE, le=MAX_SAMPLE_RATE)]


class SpeechFields(SamplingOptions, LevelOptions):
    """How a text is spoken; what a request leaves out is as the voice's model does it best."""

    text_split_method: SplitMethod | None = Field(
        None, description="cut0 to cut5, upstream's ways to cut a text. Default: whole sentences."
    )
    sample_rate: SampleRate | None = Field(None, description="Hz of the audio. Default: as the voice's model speaks.")
    extra_references: Annotated[list[str], Field(max_length=MAX_EXTRA_REFERENCES)] | None = Field(
        None,
        description="More recordings whose style is averaged with the prompt's: `voice`, `voice/prompt` or the id of "
        "an upload. Not for v3 and v4.",
    )
    timbre: str | None = Field(
        None,
        max_length=300,
        description="A recording whose timbre the speech has, while the prompt gives its manner: `voice`, "
        "`voice/prompt` or the id of an upload. For v1, v2, v2Pro and v2ProPlus.",
    )
    language: str = Field("auto", max_length=40, description="The language of the text; GET /info lists them.")
    speed: float = Field(1.0, ge=MIN_SPEED, le=MAX_SPEED, description="Times the voice's own pace.")
    seed: Seed | None = Field(None, description="The same seed gives the same audio.")
    emotion: str = Field(
        "",
        max_length=100,
        description="Name of the voice's prompt whose speaking style is used. Default: its first.",
    )
    strict_language: bool = Field(
        False,
        description="Reject a text in a language that the voice does not speak. Default: the header `X-Warning` says "
        "`language_not_spoken`.",
    )
    input_type: InputType = Field(
        "auto", description="auto (SSML if the text begins with <speak, else inline tags), text, marks or ssml."
    )
    pronunciations: dict[str, str] | None = Field(
        None, description="Word → pronunciation; they take precedence over those of the voice."
    )

    timestamps: Timestamps | None = Field(
        None, description="Show when each word is heard, or each phoneme as well, where the response has room for it."
    )

    def speech_options(self, *, default_rate: int = 0, prompt: PromptRef | None = None) -> SpeechOptions:
        """Return the options of the speech service; `default_rate`: Hz where the request names none, 0: the model's."""
        return SpeechOptions(
            language=self.language,
            speed=self.speed,
            seed=self.seed,
            prompt=prompt,
            prompt_name=self.emotion,
            input_type=self.input_type,
            pronunciations=self.pronunciations or {},
            extra_references=tuple(self.extra_references or ()),
            timbre=self.timbre or "",
            sampling=self.sampling_options(),
            levels=self.level_options(),
            text_split_method=self.text_split_method,
            sample_rate=self.sample_rate or default_rate,
            timestamps=self.timestamps,
            strict_language=self.strict_language,
        )
