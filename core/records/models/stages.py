"""Stages of experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import TypedDict

from core.errors import ErrorData
from core.stages.outputs import PreviewOutput
from core.stages.parameters import StageConfig
from core.stages.status import StageStatus


class PreviousRunDocument(TypedDict):
    """The completed run before the newest one."""

    run: int
    completed_at: float | None
    outputs: dict[str, Any]


class StageChanges(TypedDict, total=False):
    """New values of the fields of a stage's newest run."""

    status: StageStatus
    run: int
    work_run: int
    progress: float
    message: str
    config: StageConfig
    metrics: dict[str, Any]
    outputs: dict[str, Any]
    previews: list[PreviewOutput]
    error: ErrorData | None
    control: str
    previous_run: PreviousRunDocument | None
    basis: dict[str, bool | int]
    changed: Mapping[str, object]
    queued_at: float | None
    device: str
    schedule_at: float | None
    started_at: float | None
    completed_at: float | None


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
    config: StageConfig = field(default_factory=dict)
    """The complete parameters."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """The newest numbers of the run: epoch, total_epochs, loss and others that its role reports."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """See `core.stages.outputs`; empty until it is completed."""
    previews: list[PreviewOutput] = field(default_factory=list)
    """What a training has spoken so far, by epoch."""
    error: ErrorData | None = None
    control: str = ""
    """The request for the run in progress: `stop_after_epoch`, `pause` or empty."""
    previous_run: PreviousRunDocument | None = None
    basis: dict[str, bool | int] = field(default_factory=dict)
    """Its inputs beside the parameters: `is_half`, and the run of every stage whose result it reads."""
    changed: Mapping[str, object] = field(default_factory=dict)
    """Name → `{before, now}` of what differs from the paused run that it resumes, after a confirmation."""
    queued_at: float | None = None
    """When this run was requested."""
    device: str = ""
    """Device constraint: `cuda`, `cuda:N`, `cpu`; empty: any device."""
    schedule_at: float | None = None
    """Not before this time."""
    started_at: float | None = None
    completed_at: float | None = None

    @property
    def job_id(self) -> str:
        """The job of this run; empty when the stage never ran."""
        return f"{self.exp_id}.{self.stage}.{self.run}" if self.run else ""
