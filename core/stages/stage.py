"""The stages between a recording and a voice: their needs, roles and parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from common.versions import SPEAKER_VECTOR_VERSIONS, VERSIONS, Version
from core.errors import InvalidRequest, NotFound
from core.jobs.roles import PREPROCESSOR, TRAINER
from core.stages.parameters import (
    AsrParameters,
    AudioFeatureParameters,
    ConvertParameters,
    DenoiseParameters,
    FeatureParameters,
    GptTrainParameters,
    SliceParameters,
    SovitsTrainParameters,
    StageParameters,
    TestInferenceParameters,
)

ALL_VERSIONS: Final[frozenset[Version]] = frozenset(VERSIONS)


@dataclass(frozen=True, slots=True)
class Stage:
    """One resumable step from a recording towards a voice."""

    name: str
    needs: tuple[str, ...]
    role: str
    parameters: type[StageParameters]
    weight: float
    """Its share of a task's time, relative to the others."""
    alias: str = ""
    """Its name in the API of the training service."""
    after: tuple[str, ...] = ()
    """Optional stages whose result it uses when they ran."""
    versions: frozenset[Version] = ALL_VERSIONS

    @property
    def trains(self) -> bool:
        """Whether it goes by epochs, and so can be paused, resumed and stopped after one."""
        return "total_epoch" in self.parameters.model_fields


_STAGES: Final = (
    Stage("convert", (), PREPROCESSOR, ConvertParameters, 2, "convert_audio"),
    Stage("audio_slice", ("convert",), PREPROCESSOR, SliceParameters, 2, "slice_audio"),
    Stage("denoise", ("audio_slice",), PREPROCESSOR, DenoiseParameters, 1, "denoise_audio"),
    Stage("asr", ("audio_slice",), PREPROCESSOR, AsrParameters, 12, "asr_transcribe", ("denoise",)),
    Stage("text_feature", ("asr",), PREPROCESSOR, FeatureParameters, 4, "extract_text_features"),
    Stage(
        "hubert_feature",
        ("audio_slice",),
        PREPROCESSOR,
        AudioFeatureParameters,
        6,
        "extract_audio_features",
        ("denoise",),
    ),
    Stage(
        "speaker_vector",
        ("audio_slice",),
        PREPROCESSOR,
        AudioFeatureParameters,
        2,
        "extract_speaker_vectors",
        ("denoise",),
        SPEAKER_VECTOR_VERSIONS,
    ),
    Stage(
        "semantic_token",
        ("hubert_feature",),
        PREPROCESSOR,
        FeatureParameters,
        3,
        "extract_semantic_features",
    ),
    Stage(
        "sovits_train",
        ("text_feature", "semantic_token"),
        TRAINER,
        SovitsTrainParameters,
        40,
        "train_sovits",
        ("speaker_vector",),
    ),
    Stage("gpt_train", ("text_feature", "semantic_token"), TRAINER, GptTrainParameters, 30, "train_gpt"),
    Stage("test_inference", ("sovits_train", "gpt_train"), TRAINER, TestInferenceParameters, 0),
)
STAGES: Final[dict[str, Stage]] = {stage.name: stage for stage in _STAGES}
"""In an order in which each stage comes after those that it reads."""
STAGE_ALIASES: Final[dict[str, str]] = {stage.alias: stage.name for stage in _STAGES if stage.alias}


def find_stage(name: str) -> Stage:
    """Return the stage of that name or alias.

    Raises:
        NotFound: lists the names.
    """
    stage = STAGES.get(STAGE_ALIASES.get(name, name))
    if stage is None:
        raise NotFound(f"no stage named {name!r}", hint=f"Stages: {', '.join(STAGES)}.")
    return stage


def check_version(version: str) -> str:
    """Return the version itself.

    Raises:
        InvalidRequest: lists the versions.
    """
    if version not in VERSIONS:
        raise InvalidRequest(f"no version {version!r}", hint=f"Versions: {', '.join(VERSIONS)}.")
    return version
