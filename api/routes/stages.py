"""Stages of an experiment: run, run again, watched, paused, resumed, cancelled; and what parameters they take."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal, NotRequired

from fastapi import APIRouter, Body, Header, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dependencies import Api, Services
from api.http.responses import Json
from api.http.schedule import ScheduleAt, moment
from api.http.sse import EventStream, last_event_id, replay
from common.versions import VERSIONS
from core.errors import Conflict, ErrorData, QueueUnavailable
from core.jobs.job import TERMINAL_EVENTS, Event
from core.records import StageRecord, iso
from core.stages.parameter_schema import describe_parameters
from core.stages.presets import PRESETS
from core.stages.stage import find_stage
from core.stages.status import StageStatus

router = APIRouter(prefix="/experiments/{exp_id}/stages", tags=["Stages"])
catalogue = APIRouter(prefix="/stages", tags=["Stages"])

ENDS = {
    StageStatus.COMPLETED: "completed",
    StageStatus.STALE: "completed",
    StageStatus.FAILED: "failed",
    StageStatus.CANCELLED: "cancelled",
    StageStatus.PAUSED: "paused",
}
"""Status → the event that ends the stream of a run."""


class PreviousRun(TypedDict):
    """The completed run before this one."""

    run: int
    completed_at: str | None
    outputs: dict[str, Any]


class StageStarted(TypedDict):
    """A stage that was asked for."""

    exp_id: str
    stage_type: str
    status: str
    job_id: str | None
    config: dict[str, Any]
    started_at: str | None
    rerun: bool
    previous_run: NotRequired[PreviousRun]


class StageView(StageStarted):
    """A stage as its newest run left it."""

    run: int
    progress: float
    message: str
    metrics: dict[str, Any]
    outputs: dict[str, Any]
    error: ErrorData | None
    error_message: str | None
    control: str
    changed: dict[str, Any]
    device: str
    schedule_at: str | None
    queued_at: str | None
    completed_at: str | None


class StagePage(TypedDict):
    exp_id: str
    items: list[StageView]
    total: int
    limit: int
    offset: int


class StageWish(BaseModel):
    """The stage's parameters, over the defaults (GET /stages/{stage}/schema lists them), and how it is to run."""

    model_config = ConfigDict(extra="allow")

    confirm: bool = Field(False, description="A paused stage goes on although something changed.")
    device: str | None = Field(None, max_length=20, description="Where a training runs: cuda, cuda:N or cpu.")
    schedule_at: ScheduleAt = None
    idempotency_key: str = Field("", max_length=200, description="The same key answers with the same run.")


class StageControl(BaseModel):
    """What to ask of a training."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["stop_after_epoch", "pause", "resume"]
    parameters: dict[str, Any] | None = Field(None, description="To resume with, over those that it paused with.")
    confirm: bool = Field(False, description="Go on although something changed; the 409 before named it.")


class ParameterView(TypedDict):
    """A parameter of a stage; null where something does not apply."""

    name: str
    type: str
    default: Any
    min: float | None
    max: float | None
    choices: list[Any] | None
    description: str


class StageSchema(TypedDict):
    """What a stage needs and takes."""

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


class PresetPage(TypedDict):
    items: list[PresetView]
    total: int
    limit: int
    offset: int


@router.post("/{stage}", status_code=202, response_model=StageStarted)
async def run_stage(
    exp_id: str,
    stage: str,
    api: Api,
    wish: Annotated[StageWish | None, Body()] = None,
) -> Response:
    """Run a stage, again if it is completed; 400 names what it needs first, 409 says that it runs already."""
    wish = wish or StageWish()
    run = await api.experiments.stages.run(
        exp_id,
        stage,
        wish.model_extra,
        confirm=wish.confirm,
        device=wish.device,
        schedule_at=moment(wish.schedule_at),
    )
    return Json(started_view(run), 202)


@router.get("", response_model=StagePage)
async def list_stages(exp_id: str, api: Api) -> Response:
    """Every stage of the experiment, in order."""
    items = [stage_view(run) for run in await api.records.stages.of_experiment(exp_id)]
    return Json({"exp_id": exp_id, "items": items, "total": len(items), "limit": len(items), "offset": 0})


@router.get("/{stage}", response_model=StageView)
async def get_stage(exp_id: str, stage: str, api: Api) -> Response:
    """The newest run of a stage."""
    return Json(stage_view(await api.records.stages.get(exp_id, find_stage(stage).name)))


@router.delete("/{stage}", response_model=StageView)
async def cancel_stage(exp_id: str, stage: str, api: Api) -> Response:
    """Stop a stage that waits, runs or is paused, within seconds; what it has finished stays."""
    return Json(stage_view(await api.experiments.stages.cancel(exp_id, stage)))


@router.post("/{stage}/control", response_model=StageView)
async def control_stage(exp_id: str, stage: str, control: StageControl, api: Api) -> Response:
    """Let a training stop after its epoch, pause (save and free the GPU), or resume where it paused."""
    run = await api.experiments.stages.control(
        exp_id, stage, control.action, control.parameters, confirm=control.confirm
    )
    return Json(stage_view(run))


@router.get("/{stage}/progress", response_class=EventStream)
async def watch_stage(
    exp_id: str, stage: str, api: Api, last_event: Annotated[str, Header(alias="Last-Event-ID")] = ""
) -> Response:
    """Events `progress` and `checkpoint` of the newest run; at last `completed`, `failed`, `cancelled` or `paused`."""
    run = await api.records.stages.get(exp_id, find_stage(stage).name)
    if run.status is StageStatus.PENDING:
        raise Conflict(f"{run.stage} is pending", hint=f"POST /api/v1/experiments/{exp_id}/stages/{run.stage} runs it.")
    after = last_event_id(last_event)
    ended = ending(run, run)
    if ended is not None:
        return EventStream(replay(await _history(api, run, after), ended))
    return EventStream(_watched(api, run, after))


@catalogue.get("/presets", response_model=PresetPage)
async def list_presets() -> Response:
    """Stages that POST /experiments/{id}/presets/{name} runs in order."""
    items = [{"name": one.name, "description": one.description, "stages": list(one.stages)} for one in PRESETS]
    return Json({"items": items, "total": len(items), "limit": len(items), "offset": 0})


@catalogue.get("/{stage}/schema", response_model=StageSchema)
async def stage_schema(stage: str) -> Response:
    """The parameters of a stage: type, default, range and a sentence each."""
    found = find_stage(stage)
    return Json(
        {
            "stage_type": found.name,
            "alias": found.alias or None,
            "needs": list(found.needs),
            "versions": [name for name in VERSIONS if name in found.versions],
            "parameters": describe_parameters(found.name),
        }
    )


async def _history(api: Services, run: StageRecord, after: str) -> list[Event]:
    """What is remembered, but for how the job ended; the end is told even when nobody can be asked for the rest."""
    try:
        return [
            event for event in await api.queue.event_history(run.job_id, after) if event.kind not in TERMINAL_EVENTS
        ]
    except QueueUnavailable:
        return []


async def _watched(api: Services, run: StageRecord, after: str) -> AsyncGenerator[bytes, None]:
    async def follow(after: str) -> AsyncIterator[Event]:
        """The history of the run's job; how the job ended is left out, for how the stage ended says more."""
        async for event in api.events.watch(run.job_id, after):
            if event.kind in TERMINAL_EVENTS:
                return
            yield event

    async def look_again() -> Event | None:
        return ending(run, await api.records.stages.get(run.exp_id, run.stage))

    with api.metrics.watchers.track_inprogress():
        async with aclosing(api.watchers.watch(follow, after, look_again)) as chunks:
            async for chunk in chunks:
                yield chunk


def ending(run: StageRecord, newest: StageRecord) -> Event | None:
    """How a run ended, by its stage's newest run; None while it goes on."""
    kind = ENDS.get(newest.status)
    if newest.run != run.run:  # somebody was quick to ask for the next one
        was_completed = newest.previous_run is not None and newest.previous_run["run"] == run.run
        kind = "completed" if was_completed else "paused" if newest.work_run == run.work_run else "cancelled"
        newest = run
    if kind is None:
        return None
    data: dict[str, Any] = {
        "exp_id": newest.exp_id,
        "stage": newest.stage,
        "status": kind,
        "progress": newest.progress,
        "message": newest.message,
        "outputs": newest.outputs,
    }
    if newest.error is not None:
        data["error"] = newest.error
    return Event(id=f"{round((newest.completed_at or 0) * 1000)}-0", kind=kind, data=data)


def started_view(run: StageRecord) -> StageStarted:
    """The answer to whoever asked for a run."""
    shown: StageStarted = {
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
        shown["previous_run"] = {
            "run": previous["run"],
            "completed_at": iso(previous["completed_at"]),
            "outputs": previous["outputs"],
        }
    return shown


def stage_view(run: StageRecord) -> StageView:
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
