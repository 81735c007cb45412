"""Stages of an experiment: run, watched, paused, resumed, cancelled; and the parameters that they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NotRequired

from fastapi import APIRouter, Body, Header, Query, Response, WebSocket
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices, SocketApi
from api.http.access import TRAINING
from api.http.event_sockets import LastEventIdParameter, send_events
from api.http.responses import JsonResponse
from api.http.schedule import ScheduleAt, scheduled_time
from api.http.schemas import JsonObjectBody, JsonObjectView, StrictModel
from api.http.sse import EventStream, LastEventId
from api.http.translations import prefers_chinese
from api.http.translations.descriptions import DESCRIPTIONS
from api.services.logs import FeedWithLog
from api.services.progress import TopicFeed, stage_feed
from common.progress_messages import ProgressCode, read_progress_message
from common.versions import VERSIONS
from core.errors import Conflict, InvalidRequest, NotFound
from core.records import StageRecord, iso
from core.stages.parameter_schema import ParameterDescription, accept_parameters, describe_parameters
from core.stages.presets import PRESETS, Preset
from core.stages.stage import find_stage
from core.stages.status import StageStatus

router = APIRouter(
    prefix="/experiments/{exp_id}/stages",
    tags=["Stages"],
    dependencies=[TRAINING],
)
catalog_router = APIRouter(
    prefix="/stages",
    tags=["Stages"],
    dependencies=[TRAINING],
)
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


@router.post("/{stage}", response_model=StageRunStarted)
async def run_stage(
    exp_id: str, stage: str, api: Api, options: Annotated[StageOptions | None, Body()] = None
) -> Response:
    """Run a stage; a completed one runs again, a paused one resumes.

    What it needs and no client of the tasks service knows (conversion, denoising, speaker vectors) runs by itself
    before it. 400 names the stages that must be completed first, 409 says that the stage is running, 422 names a
    parameter that is out of range.
    """
    options = options or StageOptions()
    await api.records.experiments.get(exp_id)
    try:
        name = find_stage(stage).name
    except NotFound as error:
        raise InvalidRequest(error.message, hint=error.hint, literal=f"Invalid stage type: {stage}") from None
    accepted = accept_parameters(name, options.model_extra or {})
    run = await api.experiments.stages.run(
        exp_id,
        name,
        accepted.values,
        confirm=options.confirm,
        device=options.device,
        schedule_at=scheduled_time(options.schedule_at),
    )
    content: StageRunStarted = {**started_view(run), "warnings": accepted.warnings}
    return JsonResponse(content)


@router.get("", response_model=StagePage)
async def list_stages(exp_id: str, api: Api) -> Response:
    """List all stages of an experiment with their newest runs, in the order in which they run."""
    views = [stage_view(run) for run in await api.records.stages.of_experiment(exp_id)]
    content: StagePage = {
        "exp_id": exp_id,
        "stages": views,
        "items": views,
        "total": len(views),
        "limit": len(views),
        "offset": 0,
    }
    return JsonResponse(content)


@router.get("/{stage}", response_model=StageView)
async def get_stage(exp_id: str, stage: str, api: Api) -> Response:
    """Get the newest run of a stage."""
    return JsonResponse(stage_view(await _newest_run(api, exp_id, stage)))


@router.delete("/{stage}", response_model=CancelledStage)
async def cancel_stage(exp_id: str, stage: str, api: Api) -> Response:
    """Cancel a stage that is waiting, running or paused. It stops within seconds; what is finished is kept.

    400 when there is nothing to cancel.
    """
    run = await _newest_run(api, exp_id, stage)
    try:
        run = await api.experiments.stages.cancel(exp_id, run.stage)
    except Conflict as error:
        literal = "Stage not running or cannot be cancelled"
        raise InvalidRequest(error.message, hint=error.hint, literal=literal) from None
    view = stage_view(run)
    view["message"] = f"阶段 {run.stage} 已取消"
    content: CancelledStage = {**view, "success": True}
    return JsonResponse(content)


@router.post("/{stage}/control", response_model=StageView)
async def control_stage(exp_id: str, stage: str, control: StageControl, api: Api) -> Response:
    """Stop a training after its epoch, pause it (it saves its state and frees the GPU), or resume a paused one."""
    run = await api.experiments.stages.control(
        exp_id, stage, control.action, control.parameters, confirm=control.confirm
    )
    return JsonResponse(stage_view(run))


@router.get("/{stage}/progress", response_class=EventStream)
async def watch_stage(
    exp_id: str,
    stage: str,
    api: Api,
    last_event: LastEventId = "",
    log: Annotated[
        bool, Query(description="Also the log, as events `log`; every connection begins with all lines so far.")
    ] = False,
) -> Response:
    """Stream the events of a stage's newest run: `progress` and `checkpoint`.

    The last event is `completed`, `failed`, `cancelled` or `paused`. 409 for a stage that was never started.
    """
    progress = await _open_feed(api, exp_id, stage)
    feed = FeedWithLog(progress, await api.logs.stage(exp_id, stage)) if log else progress
    return await api.sse.respond(feed, last_event, heartbeat_events=True)


@router.websocket("/{stage}/ws")
async def watch_stage_by_websocket(
    websocket: WebSocket, exp_id: str, stage: str, api: SocketApi, last_event: LastEventIdParameter = ""
) -> None:
    """Send the events of `…/progress` as JSON messages `{id, event, data}`, and close after the last one."""
    await send_events(websocket, api.sse, lambda: _open_feed(api, exp_id, stage), last_event)


@catalog_router.get("/presets", response_model=PresetList)
async def list_presets() -> Response:
    """List the presets: stages that POST /experiments/{exp_id}/presets/{preset} runs in order."""
    views = [_preset_view(preset) for preset in PRESETS]
    content: PresetList = {"presets": views, "items": views, "total": len(views), "limit": len(views), "offset": 0}
    return JsonResponse(content)


@catalog_router.get("/{stage}/schema", response_model=StageSchema)
async def stage_schema(stage: str, accept_language: Annotated[str, Header(include_in_schema=False)] = "") -> Response:
    """Get the parameters of a stage with type, default, range and description, and the stages that it depends on."""
    specification = find_stage(stage)
    chinese = DESCRIPTIONS if prefers_chinese(accept_language) else {}
    content: StageSchema = {
        "type": specification.name,
        "name": specification.title,
        "description": specification.description,
        "parameters": {
            parameter["name"]: _parameter_view(parameter, chinese)
            for parameter in describe_parameters(specification.name)
        },
        "stage_type": specification.name,
        "alias": specification.alias or None,
        "needs": list(specification.needs),
        "versions": [version for version in VERSIONS if version in specification.versions],
    }
    return JsonResponse(content, headers={"Vary": "Accept-Language"})


async def _open_feed(api: ApiServices, exp_id: str, stage: str) -> TopicFeed:
    """Return the feed of a stage's newest run; Conflict for a stage that was never started."""
    run = await _newest_run(api, exp_id, stage)
    if run.status is StageStatus.PENDING:
        raise Conflict(f"{run.stage} is pending", hint=f"POST /api/v1/experiments/{exp_id}/stages/{run.stage} runs it.")
    return stage_feed(api.records, api.queue, api.events, run)


async def _newest_run(api: ApiServices, exp_id: str, stage: str) -> StageRecord:
    """Return the newest run of a stage; NotFound for an unknown experiment or stage."""
    await api.records.experiments.get(exp_id)
    try:
        name = find_stage(stage).name
    except NotFound as error:
        raise NotFound(error.message, hint=error.hint, literal="Stage not found") from None
    return await api.records.stages.get(exp_id, name)


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
        "message": run.message or None,
        "message_parts": None if parts is None else {"code": parts[0], "values": parts[1]},
        "metrics": run.metrics,
        "outputs": run.outputs or None,
        "error": run.error,
        "error_message": str(run.error.get("message", "")) if run.error else None,
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


def _preset_view(preset: Preset) -> PresetView:
    return {
        "id": preset.id,
        "name": preset.title,
        "description": preset.description,
        "stages": list(preset.stages),
    }


def _parameter_view(parameter: ParameterDescription, translations: Mapping[str, str]) -> ParameterView:
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
