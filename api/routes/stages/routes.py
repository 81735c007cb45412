"""Stages of an experiment: run, watched, paused, resumed, cancelled; and the parameters that they take."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response, WebSocket

from api.dependencies import Api, ApiServices, SocketApi
from api.http.access import TRAINING
from api.http.event_sockets import LastEventIdParameter, send_events
from api.http.localization import LocalizedFeed, in_chinese, localized
from api.http.responses import JsonResponse
from api.http.schedule import scheduled_time
from api.http.sse import EventStream, LastEventId
from api.http.translations.descriptions import DESCRIPTIONS
from api.routes.stages.views import (
    CancelledStage,
    PresetList,
    StageControl,
    StageOptions,
    StagePage,
    StageRunStarted,
    StageSchema,
    StageView,
    parameter_view,
    preset_view,
    stage_view,
    started_view,
)
from api.services.logs import FeedWithLog
from api.services.progress import TopicFeed, stage_feed
from common.versions import VERSIONS
from core.errors import Conflict, InvalidRequest, NotFound
from core.records import StageRecord
from core.stages.parameter_schema import accept_parameters, describe_parameters
from core.stages.presets import PRESETS
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
    content: StageRunStarted = {**started_view(run), "warnings": [localized(warning) for warning in accepted.warnings]}
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
    return await api.sse.respond(LocalizedFeed(feed), last_event, heartbeat_events=True)


@router.websocket("/{stage}/ws")
async def watch_stage_by_websocket(
    websocket: WebSocket, exp_id: str, stage: str, api: SocketApi, last_event: LastEventIdParameter = ""
) -> None:
    """Send the events of `…/progress` as JSON messages `{id, event, data}`, and close after the last one."""

    async def open_feed() -> LocalizedFeed:
        return LocalizedFeed(await _open_feed(api, exp_id, stage))

    await send_events(websocket, api.sse, open_feed, last_event)


@catalog_router.get("/presets", response_model=PresetList)
async def list_presets() -> Response:
    """List the presets: stages that POST /experiments/{exp_id}/presets/{preset} runs in order."""
    views = [preset_view(preset) for preset in PRESETS]
    content: PresetList = {"presets": views, "items": views, "total": len(views), "limit": len(views), "offset": 0}
    return JsonResponse(content)


@catalog_router.get("/{stage}/schema", response_model=StageSchema)
async def stage_schema(stage: str) -> Response:
    """Get the parameters of a stage with type, default, range and description, and the stages that it depends on."""
    specification = find_stage(stage)
    translations = DESCRIPTIONS if in_chinese() else {}
    content: StageSchema = {
        "type": specification.name,
        "name": specification.title,
        "description": specification.description,
        "parameters": {
            parameter["name"]: parameter_view(parameter, translations)
            for parameter in describe_parameters(specification.name)
        },
        "stage_type": specification.name,
        "alias": specification.alias or None,
        "needs": list(specification.needs),
        "versions": [version for version in VERSIONS if version in specification.versions],
    }
    return JsonResponse(content)


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
