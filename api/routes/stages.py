"""Stages of an experiment: run, watched, paused, resumed, cancelled; and the parameters that they take."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dependencies import Api
from api.http.access import TRAINING
from api.http.responses import JsonResponse
from api.http.schedule import ScheduleAt, scheduled_time
from api.http.schemas import JsonObjectBody, JsonObjectView, PageView, StrictModel, page_response
from api.http.sse import EventStream, LastEventId
from api.services.progress import stage_feed
from common.versions import VERSIONS
from core.errors import Conflict
from core.records import Page, StageRecord, iso
from core.stages.parameter_schema import describe_parameters
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
    config: JsonObjectView
    started_at: str | None
    rerun: bool
    previous_run: NotRequired[PreviousRun]


class StageView(StageStarted):
    """The newest run of a stage."""

    run: int
    progress: float
    message: str
    metrics: JsonObjectView
    outputs: JsonObjectView
    error: JsonObjectView | None
    error_message: str | None
    control: str
    changed: JsonObjectView
    device: str
    schedule_at: str | None
    queued_at: str | None
    completed_at: str | None


class StagePage(TypedDict):
    """The stages of an experiment, on one page."""

    exp_id: str
    items: list[StageView]
    total: int
    limit: int
    offset: int


class StageOptions(BaseModel):
    """Parameters of the stage, which replace the defaults (GET /stages/{stage}/schema), and how to run it."""

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
    """A parameter of a stage; null where something does not apply."""

    name: str
    type: str
    default: object
    min: float | None
    max: float | None
    choices: list[object] | None
    description: str


class StageSchema(TypedDict):
    """The inputs and parameters of a stage."""

    stage_type: str
    alias: str | None
    needs: list[str]
    versions: list[str]
    parameters: list[ParameterView]


class PresetView(TypedDict):
    """Stages that are often run together."""

    name: str
    description: str
    stages: list[str]


@router.post("/{stage}", status_code=202, response_model=StageStarted)
async def run_stage(
    exp_id: str, stage: str, api: Api, options: Annotated[StageOptions | None, Body()] = None
) -> Response:
    """Run a stage; a completed one runs again, a paused one resumes.

    400 names the stages that must be completed first, 409 says that the stage is running, 422 names a parameter that
    does not exist or is out of range.
    """
    options = options or StageOptions()
    run = await api.experiments.stages.run(
        exp_id,
        stage,
        options.model_extra,
        confirm=options.confirm,
        device=options.device,
        schedule_at=scheduled_time(options.schedule_at),
    )
    return JsonResponse(started_view(run), 202)


@router.get("", response_model=StagePage)
async def list_stages(exp_id: str, api: Api) -> Response:
    """List all stages of an experiment with their newest runs, in the order in which they run."""
    views = [stage_view(run) for run in await api.records.stages.of_experiment(exp_id)]
    content: StagePage = {"exp_id": exp_id, "items": views, "total": len(views), "limit": len(views), "offset": 0}
    return JsonResponse(content)


@router.get("/{stage}", response_model=StageView)
async def get_stage(exp_id: str, stage: str, api: Api) -> Response:
    """Get the newest run of a stage."""
    return JsonResponse(stage_view(await api.records.stages.get(exp_id, find_stage(stage).name)))


@router.delete("/{stage}", response_model=StageView)
async def cancel_stage(exp_id: str, stage: str, api: Api) -> Response:
    """Cancel a stage that is waiting, running or paused. It stops within seconds; what is finished is kept."""
    return JsonResponse(stage_view(await api.experiments.stages.cancel(exp_id, stage)))


@router.post("/{stage}/control", response_model=StageView)
async def control_stage(exp_id: str, stage: str, control: StageControl, api: Api) -> Response:
    """Stop a training after its epoch, pause it (it saves its state and frees the GPU), or resume a paused one."""
    run = await api.experiments.stages.control(
        exp_id, stage, control.action, control.parameters, confirm=control.confirm
    )
    return JsonResponse(stage_view(run))


@router.get("/{stage}/progress", response_class=EventStream)
async def watch_stage(exp_id: str, stage: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the events of a stage's newest run: `progress` and `checkpoint`.

    The last event is `completed`, `failed`, `cancelled` or `paused`. 409 for a stage that was never started.
    """
    run = await api.records.stages.get(exp_id, find_stage(stage).name)
    if run.status is StageStatus.PENDING:
        raise Conflict(f"{run.stage} is pending", hint=f"POST /api/v1/experiments/{exp_id}/stages/{run.stage} runs it.")
    return await api.sse.respond(stage_feed(api.records, api.queue, api.events, run), last_event)


@catalog_router.get("/presets", response_model=PageView[PresetView])
async def list_presets() -> Response:
    """List the presets: stages that POST /experiments/{exp_id}/presets/{preset} runs in order."""
    return page_response(Page(list(PRESETS), len(PRESETS)), _preset_view, len(PRESETS), 0)


@catalog_router.get("/{stage}/schema", response_model=StageSchema)
async def stage_schema(stage: str) -> Response:
    """Get the parameters of a stage with type, default, range and description, and the stages that it depends on."""
    specification = find_stage(stage)
    content: StageSchema = {
        "stage_type": specification.name,
        "alias": specification.alias or None,
        "needs": list(specification.needs),
        "versions": [version for version in VERSIONS if version in specification.versions],
        "parameters": [ParameterView(**parameter) for parameter in describe_parameters(specification.name)],
    }
    return JsonResponse(content)


def started_view(run: StageRecord) -> StageStarted:
    """Return a run as the response to its start shows it."""
    view: StageStarted = {
        "exp_id": run.exp_id,
        "stage_type": run.stage,
        "status": run.status,
        "job_id": run.job_id or None,
        "config": run.config,
        "started_at": iso(run.started_at or run.queued_at),
        "rerun": run.previous_run is not None,
    }
    if run.previous_run is not None:
        previous = run.previous_run
        view["previous_run"] = {
            "run": previous["run"],
            "completed_at": iso(previous["completed_at"]),
            "outputs": previous["outputs"],
        }
    return view


def stage_view(run: StageRecord) -> StageView:
    """Return a stage's newest run as the API shows it."""
    return {
        **started_view(run),
        "started_at": iso(run.started_at),
        "run": run.run,
        "progress": run.progress,
        "message": run.message,
        "metrics": run.metrics,
        "outputs": run.outputs,
        "error": run.error,
        "error_message": str(run.error.get("message", "")) if run.error else None,
        "control": run.control,
        "changed": run.changed,
        "device": run.device,
        "schedule_at": iso(run.schedule_at),
        "queued_at": iso(run.queued_at),
        "completed_at": iso(run.completed_at),
    }


def _preset_view(preset: Preset) -> PresetView:
    return {"name": preset.name, "description": preset.description, "stages": list(preset.stages)}
