"""The vocabulary of the eleven-step service: its names for stages, its settings, and its view of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dialects.training_service.shifted_parameters import unshift
from api.routes.tasks import TaskView, task_view
from api.services.step_tasks import StepTaskFiles
from common.languages import RecordingLanguage
from common.versions import Version
from core.errors import error_message
from core.experiments.lifecycle import experiment_progress
from core.names import Name
from core.records import ExperimentRecord, ExperimentStatus, FileRecord, StageRecord, TaskRecord, TaskStatus, iso
from core.stages.order import stage_order
from core.stages.stage import STAGES
from core.stages.status import StageStatus

STEPS: Final[dict[str, str]] = {stage.alias or stage.name: stage.name for stage in STAGES.values()}
"""The eleven steps in order → the stages."""
STEP_NAMES: Final[dict[str, str]] = {stage: step for step, stage in STEPS.items()}
"""Stage → step."""
GPU_PATTERN: Final = r"^\d{1,2}(-\d{1,2}){0,15}$"

_TASK_STATUSES: Final[dict[StageStatus, TaskStatus]] = {
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
_ACTIVE: Final = (StageStatus.RUNNING, StageStatus.INTERRUPTED, StageStatus.QUEUED)


class StepConfig(BaseModel):
    """The settings of a task. Unknown settings are named in `warnings` of the response and ignored."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    exp_name: Name = Field("", max_length=100, description="Name of the voice. Default: that of the task.")
    version: Version = "v2"
    language: RecordingLanguage = "zh"
    batch_size: int | None = Field(None, ge=1, le=32, description="Batch size of both trainings.")
    epochs_s2: int | None = Field(None, ge=1, le=100, description="Epochs of the SoVITS training.")
    epochs_s1: int | None = Field(None, ge=1, le=100, description="Epochs of the GPT training.")
    gpu_id: str = Field("0", pattern=GPU_PATTERN, description="One GPU, or several that share the work: 0-1-2.")
    is_half: bool = True
    priority: int = Field(5, ge=1, le=10, description="10 runs first.")

    def parameters(self) -> dict[str, dict[str, int]]:
        """Return stage → the parameters that the settings imply."""
        by_stage = {
            "sovits_train": {"batch_size": self.batch_size, "total_epoch": self.epochs_s2},
            "gpt_train": {"batch_size": self.batch_size, "total_epoch": self.epochs_s1},
        }
        return {
            stage: {name: value for name, value in values.items() if value is not None}
            for stage, values in by_stage.items()
        }

    def warnings(self) -> list[str]:
        """Return a sentence for each unknown setting."""
        return [f"config.{name} is not known here and changes nothing." for name in self.model_extra or ()]


class StepView(TypedDict):
    """One of the eleven steps."""

    step: str
    stage: str
    status: str
    progress: float
    message: str
    error_message: str | None


class StepTaskFile(TypedDict):
    """A file of a task, which is downloaded by its name."""

    filename: str
    kind: Literal["upload", "model"]
    id: str
    size_bytes: int


class StepTaskView(TypedDict):
    """A task; status, progress and error are those of `current_step`."""

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
    steps: list[StepView]
    files: list[StepTaskFile]


class ListedTask(TaskView):
    """A task in the list that clients of both APIs read."""

    task_id: str
    task_name: str
    current_step: str


def stage_parameters(stage: str, body: Mapping[str, object] | None) -> tuple[dict[str, object], str]:
    """Return the parameters of a step under the stage's names, and a sentence that lists corrections, if any."""
    parameters = dict(body or {})
    nested = parameters.pop("params", None)
    if isinstance(nested, dict):
        parameters |= nested
    elif nested is not None:
        parameters["params"] = nested  # rejected by its name
    parameters.pop("idempotency_key", None)  # meant for a gateway that passed the request on
    if stage == "audio_slice":
        return unshift(parameters)
    if stage == "denoise":
        # A client that runs the step wants it to run; elsewhere it is disabled because tasks run every stage.
        parameters.setdefault("enabled", True)
    return parameters, ""


def current_run(experiment: ExperimentRecord, runs: Sequence[StageRecord]) -> StageRecord:
    """Return the run that is active or planned, else the one that was requested last."""
    for status in _ACTIVE:
        for run in runs:
            if run.status is status:
                return run
    for run in runs:
        if run.stage in experiment.planned:
            return run
    return max(runs, key=lambda run: (run.queued_at or 0.0, run.run))


def step_status(experiment: ExperimentRecord, run: StageRecord) -> TaskStatus:
    """Return the status of a step; a planned one counts as running."""
    return TaskStatus.RUNNING if run.stage in experiment.planned else _TASK_STATUSES[run.status]


def step_task_view(
    experiment: ExperimentRecord, task: TaskRecord | None, runs: Sequence[StageRecord], files: StepTaskFiles
) -> StepTaskView:
    """Return a task as its client polls it. A Quick-mode task has the progress of the whole, not of its step."""
    listed = listed_task(task) if task is not None else listed_step_task(experiment, runs)
    progress = task.overall_progress if task is not None else listed["progress"]
    interrupted = task is not None and listed["status"] == TaskStatus.INTERRUPTED
    return {
        "task_id": listed["id"],
        "task_name": listed["task_name"],
        "status": TaskStatus.RUNNING if interrupted else listed["status"],
        "progress": round(100 * progress, 1),
        "overall_progress": round(100 * listed["overall_progress"], 1),
        "current_step": listed["current_step"],
        "message": listed["message"],
        "error_message": listed["error_message"],
        "created_at": listed["created_at"],
        "started_at": listed["started_at"],
        "completed_at": listed["completed_at"],
        "exp_id": experiment.id,
        "voice_id": listed["voice_id"],
        "steps": [_step_view(run) for run in runs],
        "files": [
            {
                "filename": name,
                "kind": "upload" if isinstance(file, FileRecord) else "model",
                "id": file.id,
                "size_bytes": file.size_bytes,
            }
            for name, file in files.items()
        ],
    }


def listed_task(task: TaskRecord) -> ListedTask:
    """Return a Quick-mode task with the field names of the eleven-step service added."""
    view = task_view(task)
    return {**view, "task_id": task.id, "task_name": task.exp_name, "current_step": STEP_NAMES[task.current_stage]}


def listed_step_task(experiment: ExperimentRecord, runs: Sequence[StageRecord]) -> ListedTask:
    """Return a task that is run step by step with the fields of a Quick-mode task."""
    runs = runs or [StageRecord(experiment.id, stage_order(experiment.version)[0])]
    run = current_run(experiment, runs)
    started = [each.started_at for each in runs if each.started_at is not None]
    ended = experiment.status in (ExperimentStatus.COMPLETED, ExperimentStatus.FAILED, ExperimentStatus.CANCELLED)
    return {
        "id": experiment.id,
        "task_id": experiment.id,
        "exp_name": experiment.exp_name,
        "task_name": experiment.exp_name,
        "status": step_status(experiment, run),
        "current_stage": run.stage,
        "current_step": STEP_NAMES[run.stage],
        "progress": run.progress,
        "overall_progress": experiment_progress({each.stage: each for each in runs}, experiment.version),
        "message": run.message,
        "error_message": error_message(run.error) if run.error else None,
        "error": run.error,
        "created_at": iso(experiment.created_at),
        "started_at": iso(min(started, default=None)),
        "completed_at": iso(run.completed_at) if ended else None,
        "voice_id": experiment.voice_id,
        "exp_id": experiment.id,
        "audio_file_id": experiment.audio_file_id,
        "options": {"version": experiment.version, "language": experiment.language, "quality": "custom"},
        "priority": experiment.priority,
        "schedule_at": iso(run.schedule_at),
    }


def _step_view(run: StageRecord) -> StepView:
    return {
        "step": STEP_NAMES[run.stage],
        "stage": run.stage,
        "status": run.status,
        "progress": round(100 * run.progress, 1),
        "message": run.message,
        "error_message": error_message(run.error) if run.error else None,
    }
