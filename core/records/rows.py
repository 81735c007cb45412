"""What the records hold, as frozen values: nobody outside this package sees a database row."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from core.errors import ErrorData, NotFound
from core.stages.status import StageStatus

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list, newest first, and how many there are in all."""

    items: list[Item]
    total: int


class TaskStatus(StrEnum):
    """Where a task is."""

    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Was running; its worker went away and another will go on."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED)


class ExperimentStatus(StrEnum):
    """Where an experiment is: the sum of its stages."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    """Nothing runs, and a training can be resumed."""
    IDLE = "idle"
    """Some stages are completed, and nobody asked for the next one yet."""
    COMPLETED = "completed"
    """Both models are trained."""
    FAILED = "failed"
    CANCELLED = "cancelled"


STEPS_DOOR: Final = "steps"
"""Marks experiments that clients of the eleven-step service made, so that they are listed among the tasks."""

# All times are seconds since the epoch; None means not yet.


@dataclass(frozen=True, slots=True)
class FileRecord:
    """An uploaded file."""

    id: str
    filename: str
    """As the sender named it; for show only, never a path."""
    purpose: str
    size_bytes: int
    sha256: str
    media_type: str
    duration_seconds: float | None
    """Sound only; None for anything else."""
    sample_rate: int | None
    channels: int | None
    storage_key: str
    uploaded_at: float


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """Quick mode: recording in, voice out."""

    id: str
    exp_id: str
    exp_name: str
    audio_file_id: str | None
    """None once the file is deleted."""
    version: str
    language: str
    quality: str
    priority: int
    status: TaskStatus
    current_stage: str
    progress: float
    """Of the current stage, 0 to 1."""
    overall_progress: float
    """Of the task, 0 to 1."""
    message: str
    error: ErrorData | None
    """`{code, message, hint}` of the failure."""
    webhook_url: str
    schedule_at: float | None
    idempotency_key: str | None
    voice_id: str | None
    created_at: float
    started_at: float | None
    completed_at: float | None
    upload_url: str = ""
    """Where a ZIP of the voice is sent when the task is completed; empty: nowhere."""

    @property
    def error_message(self) -> str | None:
        return str(self.error.get("message", "")) if self.error else None


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """The stages of one voice, run by a task or one by one by an expert."""

    id: str
    exp_name: str
    version: str
    language: str
    gpu_numbers: str
    is_half: bool
    audio_file_id: str | None
    task_id: str | None
    """The task that drives it; None in expert mode."""
    priority: int
    parameters: dict[str, dict[str, Any]]
    """Stage → parameters that differ from the defaults, for this experiment."""
    status: ExperimentStatus
    voice_id: str | None
    created_at: float
    updated_at: float
    dataset_id: str | None = None
    """The data set that it begins from in place of an uploaded recording."""
    dataset_version: int | None = None
    """Which version of it; fixed when the experiment is created."""
    planned: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Stage → parameters in full, for the stages of a preset that begin by themselves, each when its turn comes."""
    device: str = ""
    """Where its trainings must run: `cuda`, `cuda:N`, `cpu`; empty: wherever there is room."""
    door: str = ""
    """Which client's API it was made by (`STEPS_DOOR`); empty: our own."""

    @property
    def topic(self) -> str:
        """Where progress of all its stages is told."""
        return self.task_id or self.id


@dataclass(frozen=True, slots=True)
class StageRecord:
    """The newest run of one stage of an experiment; a stage that never ran is pending, run 0."""

    exp_id: str
    stage: str
    status: StageStatus = StageStatus.PENDING
    run: int = 0
    work_run: int = 0
    """The run in whose folder this one works: an earlier one when it resumes after a pause."""
    progress: float = 0.0
    message: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    """The parameters in full."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """The newest numbers of the run: epoch, total_epochs, loss and what else its role told."""
    outputs: dict[str, Any] = field(default_factory=dict)
    error: ErrorData | None = None
    control: str = ""
    """What someone asked of the run in progress: `stop_after_epoch`, `pause` or nothing."""
    previous_run: dict[str, Any] | None = None
    """`{run, completed_at, outputs}` of the completed run before this one."""
    basis: dict[str, Any] = field(default_factory=dict)
    """What it was begun with beside its parameters: `is_half`, and the run of every stage whose result it reads."""
    changed: dict[str, Any] = field(default_factory=dict)
    """Name → `{before, now}` of what differs from the paused run that it goes on from; someone confirmed that."""
    queued_at: float | None = None
    """When someone asked for this run."""
    device: str = ""
    """Where this run must go: `cuda`, `cuda:N`, `cpu`; empty: wherever there is room."""
    schedule_at: float | None = None
    """Not before this time."""
    started_at: float | None = None
    completed_at: float | None = None

    @property
    def job_id(self) -> str:
        """The job of this run; empty when the stage never ran."""
        return f"{self.exp_id}.{self.stage}.{self.run}" if self.run else ""

    @property
    def folder_key(self) -> str:
        """Storage key of the run's own working folder."""
        return f"experiments/{self.exp_id}/{self.stage}/{self.work_run}"


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """Immutable weights."""

    id: str
    kind: str
    """`gpt` or `sovits`."""
    version: str
    name: str
    exp_id: str | None
    epoch: int | None
    step: int | None
    metrics: dict[str, Any]
    sha256: str
    size_bytes: int
    storage_key: str
    promoted: bool
    created_at: float
    lineage: dict[str, Any] = field(default_factory=dict)
    """What it was made of: `{experiment, stage, run, data, parameters, base, code}`; empty for imported weights."""


@dataclass(frozen=True, slots=True)
class VoiceRecord:
    """A published voice."""

    id: str
    name: str
    """Unique."""
    version: str
    language: str
    gpt_checkpoint_id: str
    sovits_checkpoint_id: str
    prompts: list[dict[str, Any]]
    """`{name, audio: storage key, text, language}`; the first one is the default."""
    exp_id: str | None
    created_at: float
    pronunciations: dict[str, str] = field(default_factory=dict)
    """Word → how this voice says it (docs/text.md)."""

    @property
    def prompt(self) -> dict[str, Any]:
        """The default prompt."""
        return self.prompts[0]

    def prompt_named(self, name: str) -> dict[str, Any]:
        """The prompt of that name, in any case of letters; the default one for no name. NotFound lists the names."""
        for prompt in self.prompts:
            if not name or str(prompt.get("name", "")).casefold() == name.casefold():
                return prompt
        names = ", ".join(str(prompt.get("name", "")) for prompt in self.prompts)
        raise NotFound(f"The voice {self.name} has no prompt {name!r}.", hint=f"Its prompts: {names}.")


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An API key; the key itself is shown once and never kept."""

    id: str
    name: str
    key_hash: str
    """SHA-256, hexadecimal."""
    shown: str
    """The first characters of the key, to recognise it by."""
    admin: bool
    created_at: float
    last_used_at: float | None
    revoked_at: float | None


def iso(seconds: float | None) -> str | None:
    """A record's time as the API shows it: ISO 8601, UTC, milliseconds."""
    if seconds is None:
        return None
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
