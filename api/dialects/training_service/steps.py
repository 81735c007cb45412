"""The words of the eleven-step service: its names for stages, its settings, and how it sees a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dialects.training_service.shifted_parameters import unshift
from api.routes.tasks import TaskView, Version, task_view
from common.languages import RecordingLanguage
from core.experiments.lifecycle import experiment_progress
from core.records import ExperimentRecord, ExperimentStatus, StageRecord, TaskRecord, TaskStatus, iso
from core.stages.order import stage_order
from core.stages.stage import STAGES
from core.stages.status import StageStatus

STEPS: Final[dict[str, str]] = {stage.alias or stage.name: stage.name for stage in STAGES.values()}
"""The eleven steps in order → our stages."""
NAMES: Final[dict[str, str]] = {stage: step for step, stage in STEPS.items()}
GPU_PATTERN: Final = r"^\d{1,2}(-\d{1,2}){0,15}$"

_FROM_STAGE: Final[dict[StageStatus, TaskStatus]] = {
    StageStatus.PENDING: TaskStatus.QUEUED,
    StageStatus.QUEUED: TaskStatus.QUEUED,
    StageStatus.RUNNING: TaskStatus.RUNNING,
    StageStatus.INTERRUPTED: TaskStatus.RUNNING,
    StageStatus.PAUSED: TaskStatus.INTERRUPTED,
    StageStatus.COMPLETED: TaskStatus.COMPLETED,
    StageStatus.STALE: TaskStatus.COMPLETED,
    StageStatus.FAILED: TaskStatus.FAILED,
    StageStatus.CANCELLED: TaskStatus.CANCELLED,
}
_UNDER_WAY: Final = (StageStatus.RUNNING, StageStatus.INTERRUPTED, StageStatus.QUEUED)


class StepConfig(BaseModel):
    """What a task is made with. Clients send more than we know; that is named in the answer and left alone."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    exp_name: str = Field("", max_length=100, description="Name of the voice; without one, the task's.")
    version: Version = "v2"
    language: RecordingLanguage = "zh"
    batch_size: int | None = Field(None, ge=1, le=32, description="Of both trainings.")
    epochs_s2: int | None = Field(None, ge=1, le=100, description="Epochs of the SoVITS training.")
    epochs_s1: int | None = Field(None, ge=1, le=100, description="Epochs of the GPT training.")
    gpu_id: str = Field("0", pattern=GPU_PATTERN, description="One GPU, or several that share the work: 0-1-2.")
    is_half: bool = True
    priority: int = Field(5, ge=1, le=10, description="10 goes first.")

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Stage → what the settings say of it."""
        said = {
            "sovits_train": {"batch_size": self.batch_size, "total_epoch": self.epochs_s2},
            "gpt_train": {"batch_size": self.batch_size, "total_epoch": self.epochs_s1},
        }
        return {stage: {name: value for name, value in one.items() if value is not None} for stage, one in said.items()}

    def warnings(self) -> list[str]:
        return [f"config.{name} is not known here and changes nothing." for name in self.model_extra or ()]


class Step(TypedDict):
    """One of the eleven."""

    step: str
    stage: str
    status: str
    progress: float
    message: str
    error_message: str | None


class StepFile(TypedDict):
    """A file of a task; its name is what downloads it."""

    filename: str
    kind: Literal["upload", "model"]
    id: str
    size_bytes: int


class StepTask(TypedDict):
    """A task as its client polls it: status, progress and error are those of `current_step`."""

    task_id: str
    task_name: str
    status: str
    progress: float
    overall_progress: float
    current_step: str
    message: str
    error_message: str | None
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    exp_id: str
    voice_id: str | None
    steps: list[Step]
    files: list[StepFile]


class ListedTask(TaskView):
    """A task in the list that both kinds of client read."""

    task_id: str
    task_name: str
    current_step: str


def read_params(stage: str, given: Mapping[str, Any] | None) -> tuple[dict[str, Any], str]:
    """The parameters of a step under our names, and a sentence on what was put right."""
    params = dict(given or {})
    inner = params.pop("params", None)
    if isinstance(inner, dict):
        params |= inner
    elif inner is not None:
        params["params"] = inner  # refused by its name
    params.pop("idempotency_key", None)  # meant for whoever handed the request on
    if stage == "audio_slice":
        return unshift(params)
    if stage == "denoise":
        # Whoever runs the step wants it done; in our own API the switch is off because tasks run every stage.
        params.setdefault("enabled", True)
    return params, ""


def current(experiment: ExperimentRecord, runs: Sequence[StageRecord]) -> StageRecord:
    """What a client asked for last, or what is still under way of that."""
    for status in _UNDER_WAY:
        for run in runs:
            if run.status is status:
                return run
    for run in runs:
        if run.stage in experiment.planned:
            return run
    return max(runs, key=lambda run: (run.queued_at or 0.0, run.run))


def status_of(experiment: ExperimentRecord, run: StageRecord) -> TaskStatus:
    """Of the current step; a step that waits for its turn is under way."""
    return TaskStatus.RUNNING if run.stage in experiment.planned else _FROM_STAGE[run.status]


def step_task(
    experiment: ExperimentRecord, task: TaskRecord | None, runs: Sequence[StageRecord], files: list[StepFile]
) -> StepTask:
    """A task of ours is seen whole, one that is run step by step as its current step is."""
    shown = listed(task) if task is not None else listed_steps(experiment, runs)
    progress = task.overall_progress if task is not None else shown["progress"]
    return {
        "task_id": shown["id"],
        "task_name": shown["task_name"],
        "status": TaskStatus.RUNNING if shown["status"] == TaskStatus.INTERRUPTED and task else shown["status"],
        "progress": round(100 * progress, 1),
        "overall_progress": round(100 * shown["overall_progress"], 1),
        "current_step": shown["current_step"],
        "message": shown["message"],
        "error_message": shown["error_message"],
        "created_at": shown["created_at"],
        "started_at": shown["started_at"],
        "completed_at": shown["completed_at"],
        "exp_id": experiment.id,
        "voice_id": shown["voice_id"],
        "steps": [_step(run) for run in runs],
        "files": files,
    }


def listed(task: TaskRecord) -> ListedTask:
    """A task of ours with the names that the eleven-step service gives its fields."""
    view = task_view(task)
    return {**view, "task_id": task.id, "task_name": task.exp_name, "current_step": NAMES[task.current_stage]}


def listed_steps(experiment: ExperimentRecord, runs: Sequence[StageRecord]) -> ListedTask:
    """A task that is run step by step, with the fields of one of ours."""
    runs = runs or [StageRecord(experiment.id, stage_order(experiment.version)[0])]
    run = current(experiment, runs)
    started = [one.started_at for one in runs if one.started_at is not None]
    over = experiment.status in (ExperimentStatus.COMPLETED, ExperimentStatus.FAILED, ExperimentStatus.CANCELLED)
    return {
        "id": experiment.id,
        "task_id": experiment.id,
        "exp_name": experiment.exp_name,
        "task_name": experiment.exp_name,
        "status": status_of(experiment, run),
        "current_stage": run.stage,
        "current_step": NAMES[run.stage],
        "progress": run.progress,
        "overall_progress": experiment_progress({one.stage: one for one in runs}, experiment.version),
        "message": run.message,
        "error_message": str(run.error.get("message", "")) if run.error else None,
        "error": run.error,
        "created_at": iso(experiment.created_at),
        "started_at": iso(min(started, default=None)),
        "completed_at": iso(run.completed_at) if over else None,
        "voice_id": experiment.voice_id,
        "exp_id": experiment.id,
        "audio_file_id": experiment.audio_file_id,
        "options": {"version": experiment.version, "language": experiment.language, "quality": "custom"},
        "priority": experiment.priority,
        "schedule_at": iso(run.schedule_at),
    }


def _step(run: StageRecord) -> Step:
    return {
        "step": NAMES[run.stage],
        "stage": run.stage,
        "status": run.status,
        "progress": round(100 * run.progress, 1),
        "message": run.message,
        "error_message": str(run.error.get("message", "")) if run.error else None,
    }
