"""What requests for stages have in them, and how stages, their parameters and presets are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.http.localization import localized, localized_error, localized_message
from api.http.schedule import ScheduleAt
from api.http.schemas import JsonObjectBody, JsonObjectView, StrictModel
from common.progress_messages import ProgressCode, read_progress_message
from core.records import StageRecord, iso
from core.stages.parameter_schema import ParameterDescription
from core.stages.presets import Preset
from core.stages.status import StageStatus

_CLIENT_STATUSES: Final = {
    StageStatus.INTERRUPTED: StageStatus.RUNNING,
    StageStatus.PAUSED: StageStatus.RUNNING,
    StageStatus.STALE: StageStatus.COMPLETED,
}


class PreviousRun(TypedDict):
    """The completed run before this one."""

    run: int
    completed_at: str | None
    outputs: JsonObjectView


class StageStarted(TypedDict):
    """A stage that was started."""

    exp_id: str
    stage_type: str
    status: str
    job_id: str | None
    config: JsonObjectView | None
    started_at: str | None
    rerun: bool
    previous_run: PreviousRun | None


class StageRunStarted(StageStarted):
    """A stage that was started; `warnings` names what was sent and changes nothing."""

    warnings: list[str]


class MessageParts(TypedDict):
    """What a sentence about progress is made of."""

    code: ProgressCode
    values: dict[str, str]


class StageView(StageStarted):
    """The newest run of a stage: `status` in the words of the tasks service, `state` in our own."""

    state: str
    run: int
    progress: float
    message: str | None
    message_parts: MessageParts | None
    """The message as a code and its values, for other languages; null for an error."""
    metrics: JsonObjectView
    outputs: JsonObjectView | None
    previews: list[JsonObjectView]
    """What a training has spoken so far: the first sentence by its base (epoch 0), and by each evaluated epoch."""
    error: JsonObjectView | None
    error_message: str | None
    control: str
    changed: JsonObjectView
    device: str
    schedule_at: str | None
    queued_at: str | None
    completed_at: str | None


class StagePage(TypedDict):
    """The stages of an experiment, all of them; `items` is the same list."""

    exp_id: str
    stages: list[StageView]
    items: list[StageView]
    total: int
    limit: int
    offset: int


class CancelledStage(StageView):
    """A stage that was cancelled."""

    success: bool


class StageOptions(BaseModel):
    """Parameters of the stage, which replace the defaults (GET /stages/{stage}/schema), and how to run it.

    What the stage does not know is accepted and named in `warnings`.
    """

    model_config = ConfigDict(extra="allow")

    confirm: bool = Field(False, description="Resume a paused stage although its inputs or parameters changed.")
    device: str | None = Field(None, max_length=20, description="Device of a training: cuda, cuda:N or cpu.")
    schedule_at: ScheduleAt = None
    idempotency_key: str = Field(
        "", max_length=200, description="Repeating the request with the same key returns the same run."
    )


class StageControl(StrictModel):
    """A control request for a training."""

    action: Literal["stop_after_epoch", "pause", "resume"]
    parameters: JsonObjectBody | None = Field(
        None, description="Parameters to resume with; they replace those before the pause."
    )
    confirm: bool = Field(False, description="Resume although something changed; the 409 before named it.")


class ParameterView(TypedDict):
    """A parameter of a stage."""

    type: str
    default: object
    description: str
    min: NotRequired[float]
    max: NotRequired[float]
    choices: NotRequired[list[object]]


class StageSchema(TypedDict):
    """The inputs and parameters of a stage."""

    type: str
    name: str
    description: str
    parameters: dict[str, ParameterView]
    stage_type: str
    alias: str | None
    needs: list[str]
    versions: list[str]


class PresetView(TypedDict):
    """Stages that are often run together; what these need beside them runs, too."""

    id: str
    name: str
    description: str
    stages: list[str]


class PresetList(TypedDict):
    """All presets; `items` is the same list."""

    presets: list[PresetView]
    items: list[PresetView]
    total: int
    limit: int
    offset: int


def started_view(run: StageRecord) -> StageStarted:
    """Return a run as the response to its start shows it."""
    previous = run.previous_run
    return {
        "exp_id": run.exp_id,
        "stage_type": run.stage,
        "status": client_status(run.status),
        "job_id": run.job_id or None,
        "config": run.config if run.run else None,
        "started_at": iso(run.started_at or run.queued_at),
        "rerun": run.work_run > 1,
        "previous_run": None
        if previous is None
        else {
            "run": previous["run"],
            "completed_at": iso(previous["completed_at"]),
            "outputs": previous["outputs"],
        },
    }


def stage_view(run: StageRecord) -> StageView:
    """Return a stage's newest run as the API shows it."""
    parts = read_progress_message(run.message)
    return {
        **started_view(run),
        "started_at": iso(run.started_at),
        "state": run.status,
        "run": run.run,
        "progress": run.progress,
        "message": localized(run.message, run.error) or None,
        "message_parts": None if parts is None else {"code": parts[0], "values": parts[1]},
        "metrics": run.metrics,
        "outputs": run.outputs or None,
        "previews": list(run.previews),
        "error": localized_error(run.error),
        "error_message": localized_message(run.error),
        "control": run.control,
        "changed": run.changed,
        "device": run.device,
        "schedule_at": iso(run.schedule_at),
        "queued_at": iso(run.queued_at),
        "completed_at": iso(run.completed_at),
    }


def client_status(status: StageStatus) -> StageStatus:
    """Return the status in the words of the tasks service; `state` says the finer one."""
    return _CLIENT_STATUSES.get(status, status)


def preset_view(preset: Preset) -> PresetView:
    """Return a preset as the API shows it."""
    return {
        "id": preset.id,
        "name": preset.title,
        "description": preset.description,
        "stages": list(preset.stages),
    }


def parameter_view(parameter: ParameterDescription, translations: Mapping[str, str]) -> ParameterView:
    """Return a parameter as the API shows it; `translations` are of its description."""
    view: ParameterView = {
        "type": parameter["type"],
        "default": parameter["default"],
        "description": translations.get(parameter["description"], parameter["description"]),
    }
    if (minimum := parameter["min"]) is not None:
        view["min"] = minimum
    if (maximum := parameter["max"]) is not None:
        view["max"] = maximum
    if (choices := parameter["choices"]) is not None:
        view["choices"] = choices
    return view
