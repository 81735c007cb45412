"""The vocabulary of the eleven-step service: its names for stages, its settings, and its view of a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from api.dialects.training_service.shifted_parameters import unshift
from api.http.errors import InvalidBody
from api.http.localization import localized, localized_error, localized_message
from api.routes.tasks import TaskView, task_view
from api.services.step_tasks import StepTaskAudio, StepTaskFiles, step_task_id
from common.languages import RecordingLanguage, find_language, single_language
from common.versions import RequestedVersion
from core.errors import ErrorData, error_message
from core.experiments.lifecycle import experiment_progress
from core.names import Name
from core.records import (
    STEPWISE_DIALECT,
    CheckpointRecord,
    ExperimentRecord,
    ExperimentStatus,
    FileRecord,
    StageRecord,
    TaskRecord,
    TaskStatus,
    iso,
)
from core.settings import Settings
from core.stages.order import stage_inputs, stage_order
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
    StageStatus.PAUSED: TaskStatus.RUNNING,
    StageStatus.COMPLETED: TaskStatus.COMPLETED,
    StageStatus.STALE: TaskStatus.COMPLETED,
    StageStatus.FAILED: TaskStatus.FAILED,
    StageStatus.CANCELLED: TaskStatus.CANCELLED,
}
_ACTIVE: Final = (StageStatus.RUNNING, StageStatus.INTERRUPTED, StageStatus.QUEUED)


_IGNORED_PARAMETERS: Final = {"audio_slice": ("is_speech", "num_processes")}
"""Stage → parameters of the service's own programs that mean nothing here."""


def _recording_language(value: object) -> object:
    """Return the code that a name of a language stands for; what is no such name stays for the error."""
    if not isinstance(value, str) or (code := find_language(value)) is None:
        return value
    return single_language(code) or "auto"


class StepConfig(BaseModel):
    """The settings of a task. Unknown settings are named in `warnings` of the response and ignored."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    exp_name: Name = Field("", max_length=100, description="Name of the voice. Default: that of the task.")
    language: Annotated[RecordingLanguage, BeforeValidator(_recording_language)] = "zh"
    version: RequestedVersion | None = Field(None, description="Default: that of the server; auto: the best installed.")
    batch_size: int | None = Field(None, ge=1, le=32, description="Batch size of both trainings.")
    epochs_s2: int | None = Field(None, ge=1, le=100, description="Epochs of the SoVITS training.")
    epochs_s1: int | None = Field(None, ge=1, le=100, description="Epochs of the GPT training.")
    gpu_id: str | None = Field(
        None, pattern=GPU_PATTERN, description="One GPU, or several that share the work: 0-1-2. Default: DEFAULT_GPU."
    )
    is_half: bool = True
    priority: int = Field(5, ge=1, le=10, description="10 runs first.")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: object) -> object:
        """Leave out what is null: all settings are optional."""
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}

    def parameters(self, defaults: Settings) -> dict[str, dict[str, int]]:
        """Return stage → the parameters that the task's settings and the server's `defaults` imply."""
        batch_size = self.batch_size or defaults.default_batch_size
        by_stage = {
            "sovits_train": {"batch_size": batch_size, "total_epoch": self.epochs_s2 or defaults.default_epochs_s2},
            "gpt_train": {"batch_size": batch_size, "total_epoch": self.epochs_s1 or defaults.default_epochs_s1},
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
    kind: Literal["upload", "model", "audio"]
    id: str
    size_bytes: int


class StepTaskView(TypedDict):
    """A task; status, progress and error are those of `current_step`."""

    task_id: str
    task_name: str
    status: str
    progress: float
    overall_progress: float
    current_step: str | None
    message: str | None
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
    current_step: str | None
    progress_percent: float


def stage_parameters(stage: str, body: object) -> tuple[dict[str, object], list[str]]:
    """Return the parameters of a step under the stage's names, and a sentence for each correction.

    What the stage does not know is left out, and a sentence names it.
    """
    if body is not None and not isinstance(body, dict):
        raise InvalidBody("The body of a step is an object.", hint='{"params": {…}} works.')
    parameters: dict[str, object] = dict(body or {})
    nested = parameters.pop("params", None)
    if nested is not None and not isinstance(nested, dict):
        raise InvalidBody("'params' is no object.", hint='{"params": {…}} works.', details={"fields": ["params"]})
    parameters |= nested or {}
    parameters.pop("idempotency_key", None)  # meant for a gateway that passed the request on
    parameters = {name: value for name, value in parameters.items() if value is not None}
    warnings: list[str] = []
    if stage == "audio_slice":
        parameters, sentence = unshift(parameters)
        warnings += [sentence] if sentence else []
    elif stage == "denoise":
        # A client that runs the step wants it to run; elsewhere it is disabled because tasks run every stage.
        parameters.setdefault("enabled", True)
    elif stage == "test_inference":
        for name in ("ref_language", "target_language"):
            if isinstance(value := parameters.get(name), str):
                parameters[name] = find_language(value) or value
    parameter_names = {field.alias or name for name, field in STAGES[stage].parameters.model_fields.items()}
    for name in parameters.keys() - parameter_names:
        del parameters[name]
        if name not in _IGNORED_PARAMETERS.get(stage, ()):
            warnings.append(f"{STEP_NAMES[stage]} has no parameter {name!r}: it changes nothing.")
    return parameters, sorted(warnings)


@dataclass(frozen=True, slots=True)
class StepState:
    """What a task shows: the step that was requested last, and how that went."""

    run: StageRecord
    status: TaskStatus
    progress: float
    message: str
    error: ErrorData | None = None
    begun: bool = True
    """False before the first step was requested."""

    @classmethod
    def of_run(cls, experiment: ExperimentRecord, run: StageRecord) -> StepState:
        """Return the state that follows from a run alone; a planned one counts as running."""
        if run.stage in experiment.planned:
            return cls(run, TaskStatus.RUNNING, 0.0, "Begins when the step before it is completed.")
        return cls(run, _TASK_STATUSES[run.status], run.progress, run.message, run.error)


def step_state(experiment: ExperimentRecord, runs: Sequence[StageRecord]) -> StepState:
    """Return what a task shows. A rejected step shows as failed until the next one is requested."""
    by_stage = {run.stage: run for run in runs}
    first = stage_order(experiment.version)[0]
    requested = experiment.stepwise
    ran = [run for run in runs if run.queued_at is not None]
    stage = requested.get("requested_stage", "")
    if experiment.dialect != STEPWISE_DIALECT or not stage:
        run = _newest_run(experiment, ran) if ran else by_stage.get(first) or StageRecord(experiment.id, first)
        state = StepState.of_run(experiment, run)
        begun = bool(ran)
    else:
        run = by_stage.get(stage) or StageRecord(experiment.id, stage)
        state, begun = StepState.of_run(experiment, _stopped_by(experiment, run, by_stage) or run), True
    if refusal := requested.get("refusal"):
        return StepState(run, TaskStatus.FAILED, 0.0, error_message(refusal), refusal, begun=begun)
    if requested.get("cancelled"):
        return StepState(state.run, TaskStatus.CANCELLED, state.progress, "Cancelled.", begun=begun)
    if skipped := requested.get("skipped"):
        return StepState(run, TaskStatus.COMPLETED, 1.0, skipped)
    return StepState(state.run, state.status, state.progress, state.message, state.error, begun=begun)


def _stopped_by(
    experiment: ExperimentRecord, run: StageRecord, by_stage: Mapping[str, StageRecord]
) -> StageRecord | None:
    """Return the failed or cancelled step for which a requested one waited, if that is why it does not begin."""
    if run.status is not StageStatus.PENDING or run.stage in experiment.planned:
        return None
    waiting_for = list(stage_inputs(run.stage, experiment.version))
    while waiting_for:
        needed = by_stage.get(waiting_for.pop(0))
        if needed is None:
            continue
        if needed.status in (StageStatus.FAILED, StageStatus.CANCELLED):
            return needed
        if needed.status is StageStatus.PENDING:
            waiting_for += stage_inputs(needed.stage, experiment.version)
    return None


def _newest_run(experiment: ExperimentRecord, runs: Sequence[StageRecord]) -> StageRecord:
    """Return the run that is active or planned, else the one that was requested last."""
    for status in _ACTIVE:
        for run in runs:
            if run.status is status:
                return run
    for run in runs:
        if run.stage in experiment.planned:
            return run
    return max(runs, key=lambda run: (run.queued_at or 0.0, run.run))


def step_task_view(
    experiment: ExperimentRecord, task: TaskRecord | None, runs: Sequence[StageRecord], files: StepTaskFiles
) -> StepTaskView:
    """Return a task as its client polls it. A Quick-mode task has the progress of the whole, not of its step."""
    listed = listed_task(task) if task is not None else listed_step_task(experiment, runs)
    record = task if task is not None else step_state(experiment, runs)  # this service's clients read what is stored
    return {
        "task_id": listed["id"],
        "task_name": listed["task_name"],
        "status": listed["status"],
        "progress": listed["progress_percent"],
        "overall_progress": round(100 * listed["overall_progress"], 1),
        "current_step": listed["current_step"],
        "message": record.message or (None if task is not None else ""),
        "error_message": error_message(record.error) if record.error else None,
        "created_at": listed["created_at"],
        "started_at": listed["started_at"],
        "completed_at": listed["completed_at"],
        "exp_id": experiment.id,
        "voice_id": listed["voice_id"],
        "steps": [_step_view(run) for run in runs],
        "files": list(_file_views(files)),
    }


def listed_task(task: TaskRecord) -> ListedTask:
    """Return a Quick-mode task with the field names of the eleven-step service added."""
    view = task_view(task)
    stage = view["current_stage"]
    return {
        **view,
        "task_id": task.id,
        "task_name": task.exp_name,
        "current_step": None if stage is None else STEP_NAMES[stage],
        "progress_percent": round(100 * task.overall_progress, 1),
    }


def listed_step_task(experiment: ExperimentRecord, runs: Sequence[StageRecord]) -> ListedTask:
    """Return a task that is run step by step with the fields of a Quick-mode task."""
    state = step_state(experiment, runs)
    run = state.run
    started = [each.started_at for each in runs if each.started_at is not None]
    ended = experiment.status in (ExperimentStatus.COMPLETED, ExperimentStatus.FAILED, ExperimentStatus.CANCELLED)
    return {
        "id": step_task_id(experiment),
        "task_id": step_task_id(experiment),
        "exp_name": experiment.exp_name,
        "task_name": experiment.stepwise.get("task_name") or experiment.exp_name,
        "status": state.status,
        "state": run.status,
        "current_stage": run.stage if state.begun else None,
        "current_step": STEP_NAMES[run.stage] if state.begun else None,
        "progress": state.progress,
        "progress_percent": round(100 * state.progress, 1),
        "overall_progress": experiment_progress({each.stage: each for each in runs}, experiment.version),
        "message": localized(state.message, state.error),
        "error_message": localized_message(state.error),
        "error": localized_error(state.error),
        "created_at": iso(experiment.created_at),
        "started_at": iso(min(started, default=None)),
        "completed_at": iso(run.completed_at) if ended else None,
        "voice_id": experiment.voice_id,
        "exp_id": experiment.id,
        "audio_file_id": experiment.audio_file_id,
        "options": {"version": experiment.version, "language": experiment.language, "quality": "custom"},
        "priority": experiment.priority,
        "schedule_at": iso(run.schedule_at),
        "remaining_seconds": None,
    }


def _file_views(files: StepTaskFiles) -> Iterable[StepTaskFile]:
    for name, file in files.items():
        match file:
            case FileRecord():
                yield {"filename": name, "kind": "upload", "id": file.id, "size_bytes": file.size_bytes}
            case CheckpointRecord():
                yield {"filename": name, "kind": "model", "id": file.id, "size_bytes": file.size_bytes}
            case StepTaskAudio():
                yield {"filename": name, "kind": "audio", "id": file.storage_key, "size_bytes": file.size_bytes}


def _step_view(run: StageRecord) -> StepView:
    return {
        "step": STEP_NAMES[run.stage],
        "stage": run.stage,
        "status": run.status,
        "progress": round(100 * run.progress, 1),
        "message": run.message,
        "error_message": error_message(run.error) if run.error else None,
    }
