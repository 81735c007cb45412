"""Tasks: Quick mode, recording in, voice out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from typing_extensions import TypedDict

from core.errors import ErrorData


class TaskStatus(StrEnum):
    """The lifecycle of a task."""

    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Was running when its worker died; another worker will continue."""
    PAUSED = "paused"
    """Nothing of it runs, and its training can be resumed."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """True when the task has ended."""
        return self in (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED)


UNDER_WAY: Final = (TaskStatus.RUNNING, TaskStatus.INTERRUPTED, TaskStatus.PAUSED)
"""Statuses of a task that has begun and not ended; most clients call all of them running."""


class TaskLabels(TypedDict, total=False):
    """What the client of the model service sent with its training, to be shown again."""

    task_id: str
    """The id that it chose."""
    description: str | None
    strategy_type: str | None
    save_path: str
    device: str
    """The device that it asked for, as far as there is one."""
    device_note: str
    """A sentence when it runs on another one."""
    warnings: list[str]
    upload_token: str
    """For the address that its results are sent to, encrypted."""


class TaskChanges(TypedDict, total=False):
    """New values of the fields of a task that change."""

    status: TaskStatus
    current_stage: str
    progress: float
    overall_progress: float
    message: str
    error: ErrorData | None
    voice_id: str | None
    started_at: float | None
    completed_at: float | None


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task."""

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
    webhook_url: str
    schedule_at: float | None
    idempotency_key: str | None
    voice_id: str | None
    created_at: float
    started_at: float | None
    completed_at: float | None
    upload_url: str = ""
    """Where a ZIP of the voice is sent when the task is completed; empty: nowhere."""
    owner: str | None = None
    """Whose it is; None: shared."""
    labels: TaskLabels = field(default_factory=TaskLabels)
    """Of a training of the model service."""

    @property
    def error_message(self) -> str | None:
        """The message of its error, if it has one."""
        return str(self.error.get("message", "")) if self.error else None
