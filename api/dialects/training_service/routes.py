"""The eleven-step training service: its client creates a task, uploads files and runs one step after the other."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, Request, Response, WebSocket
from fastapi.responses import FileResponse
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices, Limit, Offset, SocketApi
from api.dialects.training_service.steps import (
    STEP_NAMES,
    STEPS,
    StepConfig,
    StepTaskView,
    stage_parameters,
    step_state,
    step_task_view,
)
from api.http.access import TRAINING
from api.http.event_sockets import LastEventIdParameter, send_events
from api.http.multipart import announced_bytes, received_file
from api.http.responses import JsonResponse, stored_file_response
from api.http.schemas import JsonObjectView, StrictModel
from api.routes.files import UPLOAD_FORM, file_response
from api.services.progress import TopicFeed, step_task_feed, task_feed
from api.services.step_tasks import StepTaskAudio, step_task_id
from api.services.trained_language import warn_of_unknown_language
from core.errors import InvalidRequest, NotFound, SovitsError
from core.experiments.requests import ExperimentRequest
from core.names import Name
from core.records import ExperimentRecord, FileRecord, StageRecord, TaskStatus
from core.stages.stage import STAGES
from core.stages.status import StageStatus

router = APIRouter(
    prefix="/task",
    tags=["Training service"],
    dependencies=[TRAINING],
)


STEP_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "description": "Parameters of the step, maybe inside `params`.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


class NewStepTask(StrictModel):
    """A task whose steps its client runs."""

    task_name: Name = Field(min_length=1, max_length=100, description="A name to display.")
    config: StepConfig = Field(default_factory=StepConfig)


class CreatedStepTask(TypedDict):
    """A new task; `warnings` names the settings that were ignored."""

    task_id: str
    task_name: str
    status: str
    warnings: list[str]


class StepStarted(TypedDict):
    """A step that is running, planned, or completed at once because the version does not need it."""

    task_id: str
    step: str
    stage: str
    status: str
    job_id: str | None
    params: JsonObjectView
    message: str
    warnings: list[str]


class StepTaskState(TypedDict):
    """The status of a task."""

    task_id: str
    status: str
    message: str | None


class StepTaskUpload(TypedDict):
    """An upload of a task, under the name that downloads it, and the names of all its uploads."""

    task_id: str
    file_id: str
    filename: str
    size_bytes: int
    files: list[str]


class StepLogLine(TypedDict):
    """A line of a task's log."""

    timestamp: str | None
    level: str
    message: str
    step: str | None


class StepLogs(TypedDict):
    """A page of a task's log."""

    task_id: str
    logs: list[StepLogLine]
    total: int
    limit: int
    offset: int


@router.post("/create", response_model=CreatedStepTask)
async def create(new: NewStepTask, api: Api) -> Response:
    """Create a task. Nothing runs until a step is started; unknown settings are ignored and named in `warnings`."""
    config = new.config
    request = ExperimentRequest(
        config.exp_name or new.task_name,
        version=config.version or "",
        language=config.language,
        gpu_numbers=config.gpu_id or api.settings.default_gpu,
        is_half=config.is_half,
        priority=config.priority,
        parameters=config.parameters(api.settings),
    )
    experiment = await api.experiments.create_without_source(request, new.task_name)
    warn_of_unknown_language(experiment.version, experiment.language)
    content: CreatedStepTask = {
        "task_id": step_task_id(experiment),
        "task_name": new.task_name,
        "status": TaskStatus.QUEUED,
        "warnings": config.warnings(),
    }
    return JsonResponse(content)


@router.get("/{task_id}", response_model=StepTaskView)
async def status(task_id: str, api: Api) -> Response:
    """Get a task: status, progress (0 to 100) and error of its current step, all steps, and its files."""
    experiment, task = await api.step_tasks.find(task_id)
    runs = await api.step_tasks.runs(experiment)
    return JsonResponse(step_task_view(experiment, task, runs, await api.step_tasks.files(experiment)))


@router.post("/{task_id}/step/{step}", response_model=StepStarted, openapi_extra=STEP_BODY)
async def run_step(task_id: str, step: str, request: Request, api: Api) -> Response:
    """Run a step; a completed one runs again.

    A step that is started while an earlier one is running waits for its turn. 400 names the steps that must be
    completed first, 422 a parameter that is out of range. A rejected step shows in the task as failed, with the reason
    as `error_message`, until the next one is requested: clients may only poll the task.
    """
    body = await request.body()  # 413 for one that is too large, whatever the task
    experiment, _ = await api.step_tasks.find(task_id)
    stage = STEPS.get(step) or (step if step in STAGES else "")
    try:
        if not stage:
            raise NotFound(f"no step {step!r}", hint=f"Steps: {', '.join(STEPS)}.")
        return JsonResponse(await _run_stage(api, experiment, stage, task_id, body))
    except SovitsError as error:
        await api.step_tasks.note_request(experiment.id, stage, refusal=error)
        raise


async def _run_stage(
    api: ApiServices, experiment: ExperimentRecord, stage: str, task_id: str, body: bytes
) -> StepStarted:
    """Check the parameters, run the stage, and return what the client reads."""
    parameters, warnings = stage_parameters(stage, _read_json(body))
    if experiment.version not in STAGES[stage].versions:
        message = f"{experiment.version} needs no {STEP_NAMES[stage]}: there is nothing to do."
        experiment = await api.step_tasks.note_request(experiment.id, stage, skipped=message)
        run = StageRecord(experiment.id, stage, status=StageStatus.COMPLETED, message=message)
        return _started(run, TaskStatus.COMPLETED, task_id, warnings)
    warnings += await api.step_tasks.precision_warnings(parameters)
    if stage == "test_inference":
        parameters = await api.step_tasks.resolve_names(experiment, parameters)
    await api.step_tasks.note_request(experiment.id, stage)
    experiment, run = await api.step_tasks.run_step(experiment, stage, parameters, warnings)
    if stage in experiment.planned:
        run = replace(run, config=experiment.planned[stage])
    state = step_state(experiment, await api.step_tasks.runs(experiment))
    return _started(replace(run, message=state.message), state.status, task_id, warnings)


@router.post("/{task_id}/cancel", response_model=StepTaskState)
async def cancel(task_id: str, api: Api) -> Response:
    """Cancel what is running, within seconds. What is finished is kept, and later steps can be run from there."""
    experiment, task = await api.step_tasks.find(task_id)
    content: StepTaskState
    if task is not None:
        cancelled = await api.experiments.tasks.cancel(task.id)
        content = {"task_id": task_id, "status": cancelled.status, "message": cancelled.message}
    else:
        experiment = await api.step_tasks.cancel(experiment)
        view = step_task_view(experiment, None, await api.step_tasks.runs(experiment), {})
        content = {"task_id": task_id, "status": view["status"], "message": view["message"]}
    return JsonResponse(content)


@router.delete("/{task_id}", response_model=StepTaskState)
async def delete(task_id: str, api: Api) -> Response:
    """Cancel a task and delete it with its files. Checkpoints of a voice are kept."""
    experiment, task = await api.step_tasks.find(task_id)
    await api.step_tasks.delete(experiment, task)
    return JsonResponse(StepTaskState(task_id=task_id, status="deleted", message="Deleted."))


@router.post("/{task_id}/files/upload", response_model=StepTaskUpload, openapi_extra=UPLOAD_FORM)
async def upload(task_id: str, request: Request, api: Api) -> Response:
    """Upload a recording or a ZIP of recordings, up to MAX_UPLOAD_MB. It replaces an upload of the same name.

    A task has up to 500 files. 409 while the replaced file is being read.
    """
    experiment, _ = await api.step_tasks.find(task_id)
    await api.step_tasks.check_accepts_files(experiment, task_id)
    await api.records.files.check_room(announced_bytes(request))
    async with received_file(request, api.storage, api.settings.max_upload_mb << 20) as incoming:
        record, filenames = await api.step_tasks.add_file(experiment, incoming)
    content: StepTaskUpload = {
        "task_id": task_id,
        "file_id": record.id,
        "filename": record.filename,
        "size_bytes": record.size_bytes,
        "files": filenames,
    }
    return JsonResponse(content)


@router.get("/{task_id}/files/download/{filename}", response_class=FileResponse)
async def download(task_id: str, filename: str, api: Api) -> Response:
    """Download an upload, a trained checkpoint or the audio of test_inference by its name in the task's list."""
    experiment, _ = await api.step_tasks.find(task_id)
    file = (await api.step_tasks.files(experiment)).get(filename)
    if file is None:
        raise NotFound(
            f"The task has no file {filename[:200]!r}.", hint=f"GET /api/v1/task/{task_id} lists them under `files`."
        )
    if isinstance(file, FileRecord):
        return await file_response(api, file)
    return await stored_file_response(
        api.storage,
        file.storage_key,
        "audio/wav" if isinstance(file, StepTaskAudio) else "application/octet-stream",
        filename=filename,
        missing=NotFound(f"The bytes of {filename!r} are gone."),
    )


@router.websocket("/{task_id}/ws")
async def watch_by_websocket(
    websocket: WebSocket, task_id: str, api: SocketApi, last_event: LastEventIdParameter = ""
) -> None:
    """Send the events of a task as JSON messages `{id, event, data}`.

    The connection is closed after the last one: both models are trained, or a step failed or was cancelled.
    """

    async def open_feed() -> TopicFeed:
        experiment, task = await api.step_tasks.find(task_id)
        if task is not None:
            return task_feed(api.records, api.queue, api.events, task.id)
        return step_task_feed(api.records, api.queue, api.events, experiment.id)

    await send_events(websocket, api.sse, open_feed, last_event)


@router.get("/{task_id}/logs", response_model=StepLogs)
async def logs(task_id: str, api: Api, limit: Limit = 500, offset: Offset = 0) -> Response:
    """Get the log of a task, oldest first."""
    experiment, _ = await api.step_tasks.find(task_id)
    reader = api.logs.experiment(experiment.topic, await api.step_tasks.runs(experiment))
    page = await reader.page(limit, offset)
    lines: list[StepLogLine] = [
        {
            "timestamp": line["timestamp"],
            "level": line["level"],
            "message": line["message"],
            "step": STEP_NAMES.get(line["stage"]),
        }
        for line in page["items"]
    ]
    content: StepLogs = {
        "task_id": task_id,
        "logs": lines,
        "total": page["total"],
        "limit": limit,
        "offset": offset,
    }
    return JsonResponse(content)


def _read_json(body: bytes) -> object:
    if not body.strip():
        return None
    try:
        return json.loads(body)
    except ValueError as error:
        raise InvalidRequest(f"The body is no JSON: {error}.") from None


def _started(run: StageRecord, status: str, task_id: str, warnings: list[str]) -> StepStarted:
    return {
        "task_id": task_id,
        "step": STEP_NAMES[run.stage],
        "stage": run.stage,
        "status": status,
        "job_id": run.job_id or None,
        "params": run.config,
        "message": run.message,
        "warnings": warnings,
    }
