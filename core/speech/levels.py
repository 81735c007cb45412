"""How loud speech is: the options that every speech route takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from common.limits import MAX_LOUDNESS, MAX_TRUE_PEAK, MIN_LOUDNESS, MIN_TRUE_PEAK

Loudness = Annotated[float, Field(ge=MIN_LOUDNESS, le=MAX_LOUDNESS)]
TruePeak = Annotated[float, Field(ge=MIN_TRUE_PEAK, le=MAX_TRUE_PEAK)]
AS_SPOKEN: Literal["off"] = "off"


class LevelOptions(BaseModel):
    """The level of a speech. None leaves an option to the voice and the settings.

    Requests inherit the fields from here: the descriptions are those of the API's documentation.
    """

    model_config = ConfigDict(frozen=True)

    loudness: Loudness | Literal["off"] | None = Field(
        None,
        description="LUFS (EBU R128) that the speech is brought to, such as -16, or `off`. A stream stays 0.4 s of "
        "audio behind for it. Default: the voice's, else SPEECH_LOUDNESS, else as the model speaks.",
    )
    true_peak: TruePeak | None = Field(
        None, description="dBTP that speech with a loudness does not exceed. Default: SPEECH_TRUE_PEAK, which is -1."
    )
    trim_silence: bool | None = Field(
        None, description="Drop the silence before and after the speech. Default: TRIM_SILENCE, which is off."
    )

    def level_options(self) -> LevelOptions:
        """Return these fields alone."""
        return LevelOptions(**{name: getattr(self, name) for name in LevelOptions.model_fields})

    def loudness_of(self, *defaults: float | None) -> float | None:
        """Return the loudness in LUFS: the request's, else the first default that there is; None: as it is spoken."""
        if self.loudness == AS_SPOKEN:
            return None
        if self.loudness is not None:
            return float(self.loudness)
        return next((loudness for loudness in defaults if loudness is not None), None)
