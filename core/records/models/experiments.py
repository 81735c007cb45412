"""Experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from typing_extensions import TypedDict

from core.errors import ErrorData
from core.stages.parameters import StageConfig


class ExperimentStatus(StrEnum):
    """The status of an experiment as a whole, which follows from its stages."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    """Nothing runs, and a training can be resumed."""
    IDLE = "idle"
    """Some stages are completed, and the next one has not been started."""
    COMPLETED = "completed"
    """Both models are trained."""
    FAILED = "failed"
    CANCELLED = "cancelled"


STEPWISE_DIALECT: Final = "steps"
"""The dialect of experiments that clients of the eleven-step service create; they are listed among the tasks."""


class StepwiseState(TypedDict, total=False):
    """What the client of the eleven-step service called the task, and what it asked for last."""

    task_name: str
    requested_stage: str
    """The stage that it asked for last; missing: none yet."""
    refusal: ErrorData
    """Why that request was rejected."""
    skipped: str
    """Why that stage needs no run."""
    cancelled: bool
    """Whether it cancelled the task since."""


class ExperimentChanges(TypedDict, total=False):
    """New values of the fields of an experiment that change."""

    exp_name: str
    gpu_numbers: str
    is_half: bool
    priority: int
    parameters: Mapping[str, Mapping[str, Any]]
    status: ExperimentStatus
    voice_id: str | None
    updated_at: float
    planned: dict[str, StageConfig]
    dataset_id: str | None
    dataset_version: int | None
    audio_file_id: str | None
    stepwise: StepwiseState


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """The stages of one voice, run by a task or one by one in expert mode."""

    id: str
    exp_name: str
    version: str
    language: str
    gpu_numbers: str
    is_half: bool
    audio_file_id: str | None
    task_id: str | None
    """The task that runs it; None in expert mode."""
    priority: int
    parameters: Mapping[str, Mapping[str, Any]]
    """Stage → parameters of this experiment that differ from the defaults."""
    status: ExperimentStatus
    voice_id: str | None
    created_at: float
    updated_at: float
    dataset_id: str | None = None
    """The data set that it begins from in place of an uploaded recording."""
    dataset_version: int | None = None
    """The version of it; fixed when the experiment is created."""
    planned: dict[str, StageConfig] = field(default_factory=dict)
    """Stage → complete parameters, for the stages of a preset that start by themselves, one after the other."""
    device: str = ""
    """Device constraint of its trainings: `cuda`, `cuda:N`, `cpu`; empty: any device."""
    dialect: str = ""
    """The API that created it, if it is a foreign one: `STEPWISE_DIALECT`; empty: our own."""
    owner: str | None = None
    """Whose it is; None: shared."""
    stepwise: StepwiseState = field(default_factory=StepwiseState)
    """Of one whose client runs the eleven steps."""
    version_named: bool = True
    """Whether the request or DEFAULT_VERSION named `version`; otherwise it is the best that was installed."""
    consent_id: str | None = None
    """The consent of the speaker, which the voice gets."""

    @property
    def topic(self) -> str:
        """The event topic of all its stages."""
        return self.task_id or self.id
