"""What completed stages leave in their records for later stages, for voices and for the API."""

from __future__ import annotations

from typing import Any, NotRequired, Required, TypedDict


class LeftOutSegment(TypedDict):
    """A segment that a stage did not use."""

    segment: str
    """File name."""
    reason: str


class StageOutputs(TypedDict):
    """What every stage may say."""

    reused: NotRequired[bool]
    """The result of an earlier run with the same inputs was used."""
    skipped: NotRequired[bool]
    """The stage is disabled by its parameters."""


class DatasetVersionOutput(TypedDict):
    """The version of a data set that was read."""

    id: str
    version: int
    fingerprint: str


class ConvertOutputs(StageOutputs):
    """Of `convert`."""

    seconds: float
    sample_rate: int
    recordings: NotRequired[int]
    dataset: NotRequired[DatasetVersionOutput]


class SegmentOutputs(StageOutputs):
    """Of `audio_slice`, `denoise` and the feature stages."""

    segments: NotRequired[int]
    left_out: NotRequired[list[LeftOutSegment]]


class PromptOutput(TypedDict):
    """The segment that the voice uses as its prompt."""

    audio: str
    """Storage key."""
    text: str
    language: str


class AsrOutputs(SegmentOutputs):
    """Of `asr`."""

    prompt: PromptOutput


class TextFeatureOutputs(StageOutputs):
    """Of `text_feature`."""

    transcripts: int
    left_out: list[LeftOutSegment]


class SemanticTokenOutputs(StageOutputs):
    """Of `semantic_token`."""

    tokens: int
    segments: int
    pretrained_s2G: str
    """The generator whose codebook made the tokens; empty: the official one."""
    codebook: str
    """Its fingerprint."""
    prompt_tokens: NotRequired[list[int]]
    """Of the segment that is the prompt."""


class CheckpointOutput(TypedDict):
    """One saved epoch of a training; beside these the measures of its evaluation (`wer`, `similarity`, `dnsmos` …)."""

    epoch: int
    checkpoint_id: str
    model_path: str
    """Storage key."""
    sha256: str
    loss: float
    best: bool
    sample: NotRequired[str | None]
    """Storage key of a sentence that it spoke."""


class PreviewOutput(TypedDict, total=False):
    """What a training's model spoke while it was trained; beside these the measures of its evaluation.

    Epoch 0 is the model before its first step, which is no checkpoint and was not evaluated.
    """

    epoch: Required[int]
    sample: Required[str]
    """Storage key."""
    text: Required[str]
    checkpoint_id: str


class TrainingOutputs(StageOutputs):
    """Of `sovits_train` and `gpt_train`."""

    checkpoint_id: str
    """The best checkpoint, with which a voice is published."""
    model_path: str
    metrics: dict[str, Any]
    checkpoints: list[CheckpointOutput]
    curves: str | None
    """Storage key of a picture of the losses."""
    tensorboard: str | None
    samples: str | None
    evaluation: dict[str, Any]
    notes: list[str]


class CompletedOutputs(TypedDict, total=False):
    """The outputs of the completed stages of an experiment."""

    convert: ConvertOutputs
    audio_slice: SegmentOutputs
    denoise: SegmentOutputs
    asr: AsrOutputs
    text_feature: TextFeatureOutputs
    hubert_feature: SegmentOutputs
    speaker_vector: SegmentOutputs
    semantic_token: SemanticTokenOutputs
    sovits_train: TrainingOutputs
    gpt_train: TrainingOutputs


class InferenceTestOutputs(StageOutputs):
    """Of `test_inference`."""

    text: str
    heard: str
    seconds: float
    language: str
    sample: str | None
    """Storage key."""
    gpt_model: str
    sovits_model: str
    prompt_text: str
    metrics: dict[str, Any]
