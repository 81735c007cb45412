"""The parameters of each stage: defaults, ranges and a sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from common.languages import LanguageCode, RecordingLanguage

ParameterValue: TypeAlias = bool | int | float | str | None
StageConfig: TypeAlias = dict[str, ParameterValue]
"""All parameters of a stage by name."""
StageOverrides: TypeAlias = Mapping[str, Mapping[str, object]]
"""Stage → parameters that replace its defaults, not checked yet."""
Precision = Literal["auto", "float32", "float16", "int8"]
UNLIMITED: Final = 2**31 - 1
"""The largest integer that is stored; a limit of it is shown as none."""
UPSTREAM_MODELS_FOLDER: Final = "GPT_SoVITS/pretrained_models/"
"""What users of upstream write before the name of a file of weights."""
DEFAULT_GENERATOR: Final = f"{UPSTREAM_MODELS_FOLDER}gsv-v2final-pretrained/s2G2333k.pth"
DEFAULT_DISCRIMINATOR: Final = f"{UPSTREAM_MODELS_FOLDER}gsv-v2final-pretrained/s2D2333k.pth"
"""Both are v2's, and stand for the official file of whatever version the experiment has."""
DAMO_RECOGNIZER: Final = "达摩 ASR (中文)"
"""What other servers call their recognizer of Mandarin; it stands for the best one that is installed."""


def _whole_if_possible(value: float) -> float:
    return int(value) if float(value).is_integer() else value


WholeDecibels = Annotated[float, AfterValidator(_whole_if_possible)]
"""Shown as an integer; fractions are accepted."""


class StageParameters(BaseModel):
    """Parameters of a stage; unknown ones are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ConvertParameters(StageParameters):
    """Decoding has no parameters."""


class FeatureParameters(StageParameters):
    """Features of text and tokens follow from the version."""


class SharedParameters(StageParameters):
    """Parameters of a stage that processes audio files independently, in several processes."""

    n_parts: int = Field(1, ge=1, le=64, description="Processes that share the work, as far as the cores go.")


class AudioFeatureParameters(SharedParameters):
    """Features of audio follow from the version."""


class SliceParameters(StageParameters):
    """Cutting a recording at its silences."""

    threshold: WholeDecibels = Field(
        -34, ge=-60, le=0, description="Below this level (dB) it is silence.", json_schema_extra={"type": "integer"}
    )
    min_length: int = Field(4000, ge=1000, le=10000, description="Shortest segment, ms.")
    min_interval: int = Field(300, ge=100, le=1000, description="Shortest silence to cut at, ms.")
    hop_size: int = Field(10, ge=5, le=50, description="Step of the level measurement, ms.")
    max_sil_kept: int = Field(500, ge=100, le=2000, description="Silence kept at both ends, ms.")
    max_: float = Field(0.9, gt=0, le=1, alias="_max", description="Peak after normalization.")
    alpha: float = Field(0.25, ge=0, le=1, description="Share of the normalized audio that is mixed in.")
    n_parts: int = Field(1, ge=1, le=64, description="Processes that share the work.")


class DenoiseParameters(SharedParameters):
    """Denoising the segments."""

    enabled: bool = Field(False, description="Whether segments are denoised at all.")
    precision: Precision = Field("auto", description="Number format of the denoiser.")


class AsrParameters(SharedParameters):
    """Transcribing the segments."""

    model: str = Field(
        "",
        max_length=200,
        description="Folder or name of a speech recognizer; the default is the one that comes along.",
        json_schema_extra={"default": DAMO_RECOGNIZER},
    )
    language: RecordingLanguage = Field("zh", description="Language that is spoken.")
    precision: Precision = Field("auto", description="Number format of the recognizer.")


class SovitsTrainParameters(StageParameters):
    """Training the SoVITS model."""

    batch_size: int = Field(4, ge=1, le=32, description="Segments per step.")
    total_epoch: int = Field(8, ge=1, le=100, description="Passes over the data set.")
    save_every_epoch: int = Field(4, ge=1, le=UNLIMITED, description="Epochs between kept checkpoints.")
    pretrained_s2G: str = Field(
        "",
        max_length=200,
        description="Generator to start from: id of a checkpoint or file of weights. The default is the version's own.",
        json_schema_extra={"default": DEFAULT_GENERATOR},
    )
    pretrained_s2D: str = Field(
        "",
        max_length=200,
        description="Discriminator to start from.",
        json_schema_extra={"default": DEFAULT_DISCRIMINATOR},
    )
    text_low_lr_rate: float = Field(0.4, ge=0, le=1, description="Learning rate of the text encoder, relative.")
    grad_ckpt: bool = Field(False, description="Recompute activations to save memory.")
    lora_rank: Literal[16, 32, 64, 128] = Field(32, description="Rank of the adapter (v3 and v4).")


class GptTrainParameters(StageParameters):
    """Training the GPT model."""

    batch_size: int = Field(4, ge=1, le=32, description="Segments per step.")
    total_epoch: int = Field(15, ge=1, le=100, description="Passes over the data set.")
    save_every_epoch: int = Field(5, ge=1, le=UNLIMITED, description="Epochs between kept checkpoints.")
    pretrained_s1: str | None = Field(
        None,
        max_length=200,
        description="Model to start from: id of a checkpoint or file of weights. The default is the version's own.",
    )
    dpo: bool = Field(False, description="Also train against corrupted copies of the tokens (DPO).")


class TestInferenceParameters(StageParameters):
    """Synthesizing a sentence with the trained models."""

    __test__ = False  # not a test class, whatever its name says

    gpt_model: str = Field("", max_length=200, description="Checkpoint id; empty: the best of the newest training.")
    sovits_model: str = Field("", max_length=200, description="Checkpoint id; empty: the best.")
    ref_audio: str = Field("", max_length=200, description="File id of the prompt; empty: the experiment's own.")
    ref_text: str = Field("", max_length=1000, description="Transcript of the prompt.")
    ref_language: LanguageCode = Field("auto", description="Language of the prompt.")
    target_text: str = Field("", max_length=1000, description="Text to synthesize; empty: a sentence of the data set.")
    target_language: LanguageCode = Field("auto", description="Language of the text.")
