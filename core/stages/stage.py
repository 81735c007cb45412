"""The stages between a recording and a voice: their names, needs, roles and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import ValidationError

from core.errors import InvalidParameter, InvalidRequest, NotFound
from core.jobs import roles
from core.stages.parameters import (
    AsrParameters,
    ConvertParameters,
    DenoiseParameters,
    FeatureParameters,
    GptTrainParameters,
    SliceParameters,
    SoundFeatureParameters,
    SovitsTrainParameters,
    StageParameters,
    TestInferenceParameters,
)

VERSIONS: Final = ("v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4", "nano")
SPEAKER_VECTOR_VERSIONS: Final = frozenset({"v2Pro", "v2ProPlus"})
_ALL_VERSIONS: Final = frozenset(VERSIONS)


class StageStatus(StrEnum):
    """Where the newest run of a stage is."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Was running; its worker went away and another will go on."""
    PAUSED = "paused"
    COMPLETED = "completed"
    STALE = "stale"
    """Completed, but something it was made from has been made anew."""
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def active(self) -> bool:
        """Whether a job for it is (or should be) in the queue."""
        return self in ACTIVE


ACTIVE: Final = (StageStatus.QUEUED, StageStatus.RUNNING, StageStatus.INTERRUPTED)


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
    """What the eleven-step training API calls it."""
    after: tuple[str, ...] = ()
    """Optional stages whose result it uses when they ran."""
    versions: frozenset[str] = _ALL_VERSIONS

    @property
    def trains(self) -> bool:
        """Whether it goes by epochs, and so can be paused, resumed and stopped after one."""
        return "total_epoch" in self.parameters.model_fields


_ALL: Final = (
    Stage("convert", (), roles.PREPROCESSOR, ConvertParameters, 2, "convert_audio"),
    Stage("audio_slice", ("convert",), roles.PREPROCESSOR, SliceParameters, 2, "slice_audio"),
    Stage("denoise", ("audio_slice",), roles.PREPROCESSOR, DenoiseParameters, 1, "denoise_audio"),
    Stage("asr", ("audio_slice",), roles.PREPROCESSOR, AsrParameters, 12, "asr_transcribe", ("denoise",)),
    Stage("text_feature", ("asr",), roles.PREPROCESSOR, FeatureParameters, 4, "extract_text_features"),
    Stage(
        "hubert_feature",
        ("audio_slice",),
        roles.PREPROCESSOR,
        SoundFeatureParameters,
        6,
        "extract_audio_features",
        ("denoise",),
    ),
    Stage(
        "speaker_vector",
        ("audio_slice",),
        roles.PREPROCESSOR,
        SoundFeatureParameters,
        2,
        "extract_speaker_vectors",
        ("denoise",),
        SPEAKER_VECTOR_VERSIONS,
    ),
    Stage(
        "semantic_token",
        ("hubert_feature",),
        roles.PREPROCESSOR,
        FeatureParameters,
        3,
        "extract_semantic_features",
    ),
    Stage(
        "sovits_train",
        ("text_feature", "semantic_token"),
        roles.TRAINER,
        SovitsTrainParameters,
        40,
        "train_sovits",
        ("speaker_vector",),
    ),
    Stage("gpt_train", ("text_feature", "semantic_token"), roles.TRAINER, GptTrainParameters, 30, "train_gpt"),
    Stage("test_inference", ("sovits_train", "gpt_train"), roles.TRAINER, TestInferenceParameters, 0),
)
STAGES: Final[dict[str, Stage]] = {stage.name: stage for stage in _ALL}
ALIASES: Final[dict[str, str]] = {stage.alias: stage.name for stage in _ALL if stage.alias}

QUALITIES: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "fast": {"sovits_train": {"total_epoch": 4}, "gpt_train": {"total_epoch": 8}},
    "standard": {"sovits_train": {"total_epoch": 8}, "gpt_train": {"total_epoch": 15}},
    "high": {"sovits_train": {"total_epoch": 16}, "gpt_train": {"total_epoch": 30}},
}
"""Quality → stage → parameters that differ from the defaults."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Stages that experts often run together."""

    name: str
    description: str
    stages: tuple[str, ...]


PRESETS: Final = (
    Preset(
        "full_training",
        "Everything from the recording to both models.",
        tuple(name for name in STAGES if name != "test_inference"),
    ),
    Preset("retrain_sovits", "Train the SoVITS model again on the features that are there.", ("sovits_train",)),
    Preset(
        "feature_extraction",
        "Everything that training reads, from recordings already cut.",
        ("asr", "text_feature", "hubert_feature", "speaker_vector", "semantic_token"),
    ),
)


def find(name: str) -> Stage:
    """The stage of that name or alias; NotFound lists what there is."""
    stage = STAGES.get(ALIASES.get(name, name))
    if stage is None:
        raise NotFound(f"no stage named {name!r}", hint=f"Stages: {', '.join(STAGES)}.")
    return stage


def find_preset(name: str) -> Preset:
    """The preset of that name; NotFound lists what there is."""
    for preset in PRESETS:
        if preset.name == name:
            return preset
    raise NotFound(f"no preset named {name!r}", hint=f"Presets: {', '.join(preset.name for preset in PRESETS)}.")


def check_version(version: str) -> str:
    if version not in VERSIONS:
        raise InvalidRequest(f"no version {version!r}", hint=f"Versions: {', '.join(VERSIONS)}.")
    return version


def order(version: str, *, with_test: bool = False) -> tuple[str, ...]:
    """The stages of a version, each after what it needs; `with_test` adds test_inference."""
    check_version(version)
    return tuple(
        stage.name for stage in _ALL if version in stage.versions and (with_test or stage.name != "test_inference")
    )


def reads(stage: str, version: str) -> tuple[str, ...]:
    """The stages whose results this one uses, the optional ones included."""
    one = STAGES[stage]
    return one.needs + tuple(other for other in one.after if version in STAGES[other].versions)


def unmet(stage: str, statuses: Mapping[str, StageStatus], version: str = "v2") -> tuple[str, ...]:
    """What the stage needs and what is not completed; a stage not in `statuses` is pending.

    An optional stage that never ran is not needed, but one whose result is stale is: it would be passed over unseen.
    """
    needs = tuple(need for need in STAGES[stage].needs if statuses.get(need) is not StageStatus.COMPLETED)
    for other in STAGES[stage].after:
        status = statuses.get(other)
        # What only some versions have, those cannot do without.
        needed = version in STAGES[other].versions != _ALL_VERSIONS and status is not StageStatus.COMPLETED
        if needed or status is StageStatus.STALE:
            needs += (other,)
    return needs


def ready(statuses: Mapping[str, StageStatus], version: str) -> tuple[str, ...]:
    """The stages that a task can run now: not run yet or stale, and everything before them is completed."""
    names = order(version)
    return tuple(
        name
        for name in names
        if statuses.get(name, StageStatus.PENDING) in (StageStatus.PENDING, StageStatus.STALE)
        and not unmet(name, statuses)
        and all(statuses.get(one) is StageStatus.COMPLETED for one in STAGES[name].after if one in names)
    )


def dependents(stage: str) -> tuple[str, ...]:
    """Every stage that uses this one's result, directly or not, in order."""
    found: set[str] = {stage}
    for other in _ALL:  # in order, so one pass finds all
        if found.intersection(other.needs + other.after):
            found.add(other.name)
    return tuple(name for name in STAGES if name in found and name != stage)


def overall_progress(progress: Mapping[str, float], version: str) -> float:
    """How far a task is, 0 to 1, from how far its stages are; a stage not named is at 0."""
    names = order(version)
    done = sum(STAGES[name].weight * min(1.0, max(0.0, progress.get(name, 0.0))) for name in names)
    return done / sum(STAGES[name].weight for name in names)


def parse_parameters(stage: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a stage, the given ones over the defaults; InvalidParameter names what is wrong."""
    try:
        return STAGES[stage].parameters.model_validate(dict(given)).model_dump(by_alias=True)
    except ValidationError as error:
        raise _explain(stage, error) from None


def schema(stage: str) -> list[dict[str, Any]]:
    """For each parameter `{name, type, default, min, max, choices, description}`, null where none applies."""
    properties = STAGES[stage].parameters.model_json_schema(by_alias=True).get("properties", {})
    return [
        {
            "name": name,
            "type": _type(shape),
            "default": shape.get("default"),
            "min": shape.get("minimum", shape.get("exclusiveMinimum")),
            "max": shape.get("maximum", shape.get("exclusiveMaximum")),
            "choices": shape.get("enum"),
            "description": shape.get("description", ""),
        }
        for name, shape in properties.items()
    ]


def _type(shape: Mapping[str, Any]) -> str:
    if "type" in shape:
        return str(shape["type"])
    kinds: Iterable[str] = (str(one["type"]) for one in shape.get("anyOf", ()))
    return next((kind for kind in kinds if kind != "null"), "string")


def _explain(stage: str, error: ValidationError) -> InvalidParameter:
    known = ", ".join(str(one["name"]) for one in schema(stage)) or "none"
    sentences = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            sentences.append(f"{stage} has no parameter {name!r}")
        else:
            sentences.append(f"{stage}.{name} is {problem['input']!r}: {problem['msg']}")
    names = [str(problem["loc"][0]) for problem in error.errors() if problem["loc"]]
    return InvalidParameter(
        "; ".join(sentences), hint=f"Parameters of {stage}: {known}.", details={"parameters": names}
    )
