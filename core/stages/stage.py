"""The stages between a recording and a voice: their needs, roles and parameters."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
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
    _: KW_ONLY
    title: str
    """Its name for people, as clients of the tasks service show it."""
    alias: str = ""
    """Its name in the API of the training service."""
    role: str
    parameters: type[StageParameters]
    weight: float
    """Its share of a task's time, relative to the others."""
    needs: tuple[str, ...] = ()
    """Stages whose results it reads."""
    after: tuple[str, ...] = ()
    """Optional stages whose result it uses when they ran."""
    versions: frozenset[Version] = ALL_VERSIONS

    @property
    def description(self) -> str:
        """One sentence about what it does."""
        return (self.parameters.__doc__ or "").partition("\n")[0]

    @property
    def known_to_clients(self) -> bool:
        """Whether clients of the tasks service know it; any other stage runs by itself where one of these needs it."""
        return self.name in TASKS_SERVICE_STAGES

    @property
    def trains(self) -> bool:
        """Whether it goes by epochs, and so can be paused, resumed and stopped after one."""
        return "total_epoch" in self.parameters.model_fields


_STAGES: Final = (
    Stage(
        "convert",
        title="音频转换",
        alias="convert_audio",
        role=PREPROCESSOR,
        parameters=ConvertParameters,
        weight=2,
    ),
    Stage(
        "audio_slice",
        title="音频切片",
        alias="slice_audio",
        role=PREPROCESSOR,
        parameters=SliceParameters,
        weight=2,
        needs=("convert",),
    ),
    Stage(
        "denoise",
        title="降噪",
        alias="denoise_audio",
        role=PREPROCESSOR,
        parameters=DenoiseParameters,
        weight=1,
        needs=("audio_slice",),
    ),
    Stage(
        "asr",
        title="语音识别",
        alias="asr_transcribe",
        role=PREPROCESSOR,
        parameters=AsrParameters,
        weight=12,
        needs=("audio_slice",),
        after=("denoise",),
    ),
    Stage(
        "text_feature",
        title="文本特征提取",
        alias="extract_text_features",
        role=PREPROCESSOR,
        parameters=FeatureParameters,
        weight=4,
        needs=("asr",),
    ),
    Stage(
        "hubert_feature",
        title="音频特征提取",
        alias="extract_audio_features",
        role=PREPROCESSOR,
        parameters=AudioFeatureParameters,
        weight=6,
        needs=("audio_slice",),
        after=("denoise",),
    ),
    Stage(
        "speaker_vector",
        title="说话人向量提取",
        alias="extract_speaker_vectors",
        role=PREPROCESSOR,
        parameters=AudioFeatureParameters,
        weight=2,
        needs=("audio_slice",),
        after=("denoise",),
        versions=SPEAKER_VECTOR_VERSIONS,
    ),
    Stage(
        "semantic_token",
        title="语义编码提取",
        alias="extract_semantic_features",
        role=PREPROCESSOR,
        parameters=FeatureParameters,
        weight=3,
        needs=("hubert_feature",),
    ),
    Stage(
        "sovits_train",
        title="SoVITS 训练",
        alias="train_sovits",
        role=TRAINER,
        parameters=SovitsTrainParameters,
        weight=40,
        needs=("text_feature", "semantic_token"),
        after=("speaker_vector",),
    ),
    Stage(
        "gpt_train",
        title="GPT 训练",
        alias="train_gpt",
        role=TRAINER,
        parameters=GptTrainParameters,
        weight=30,
        needs=("text_feature", "semantic_token"),
    ),
    Stage(
        "test_inference",
        title="试听",
        role=TRAINER,
        parameters=TestInferenceParameters,
        weight=0,
        needs=("sovits_train", "gpt_train"),
    ),
)
STAGES: Final[dict[str, Stage]] = {stage.name: stage for stage in _STAGES}
"""In an order in which each stage comes after those that it reads."""
TASKS_SERVICE_STAGES: Final = (
    "audio_slice",
    "asr",
    "text_feature",
    "hubert_feature",
    "semantic_token",
    "sovits_train",
    "gpt_train",
)
"""The stages that clients of the tasks service know; the others run by themselves where these need them."""
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
