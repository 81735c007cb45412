"""The eleven-step training service: a task is made, files are brought, and the client runs one step after the other."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import PurePosixPath
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset, Services
from api.dialects.training_service.steps import (
    NAMES,
    STEPS,
    StepConfig,
    StepFile,
    StepTask,
    read_params,
    status_of,
    step_task,
)
from api.http.multipart import received, safe_label
from api.http.responses import Json
from api.routes.files import FORM, download_file, take_in
from api.routes.logs import Log
from core.errors import Conflict, NotFound
from core.experiments.requests import ExperimentRequest
from core.experiments.sources import delete_dataset_of_files, source_of_files
from core.jobs.job import Event
from core.records import (
    STEPWISE_DIALECT,
    CheckpointRecord,
    ExperimentRecord,
    FileRecord,
    StageRecord,
    TaskRecord,
    TaskStatus,
)
from core.stages.stage import find_stage

router = APIRouter(prefix="/task", tags=["Training service"])

MOST_FILES: Final = 500
"""Of one task."""


class NewStepTask(BaseModel):
    """A task whose steps its client runs."""

    model_config = ConfigDict(extra="forbid")

    task_name: str = Field(min_length=1, max_length=100, description="For people.")
    config: StepConfig = Field(default_factory=StepConfig)


class CreatedTask(TypedDict):
    """The task, and what of its settings meant nothing here."""

    task_id: str
    task_name: str
    status: str
    warnings: list[str]


class StepStarted(TypedDict):
    """A step that runs, waits for its turn, or is none for this version."""

    task_id: str
    step: str
    stage: str
    status: str
    job_id: str | None
    params: dict[str, Any]
    message: str
    warnings: list[str]


class TaskState(TypedDict):
    task_id: str
    status: str
    message: str


class UploadedFile(TypedDict):
    """A file of the task, under the name that downloads it."""

    task_id: str
    file_id: str
    filename: str
    size_bytes: int
    files: list[str]


class StepLine(TypedDict):
    timestamp: str | None
    level: str
    message: str
    step: str | None


class StepLogs(TypedDict):
    task_id: str
    logs: list[StepLine]
    total: int
    limit: int
    offset: int


@router.post("/create", response_model=CreatedTask)
async def create(new: NewStepTask, api: Api) -> Response:
    """Make a task; nothing runs until a step is asked for."""
    config = new.config
    made = await api.experiments.create_without_source(
        ExperimentRequest(
            config.exp_name or new.task_name,
            version=config.version,
            language=config.language,
            gpu_numbers=config.gpu_id,
            is_half=config.is_half,
            priority=config.priority,
            parameters=config.parameters(),
        )
    )
    return Json(
        {
            "task_id": made.id,
            "task_name": made.exp_name,
            "status": TaskStatus.QUEUED,
            "warnings": config.warnings(),
        }
    )


@router.get("/{task_id}", response_model=StepTask)
async def status(task_id: str, api: Api) -> Response:
    """Where a task is: status, progress (0–100) and error of the step that it is at."""
    experiment, task = await _find(api, task_id)
    return Json(step_task(experiment, task, await _runs(api, experiment), await _shown_files(api, experiment)))


@router.post("/{task_id}/step/{step}", response_model=StepStarted)
async def run_step(
    task_id: str,
    step: str,
    api: Api,
    params: Annotated[dict[str, Any] | None, Body(description="The step's parameters, or `params` with them.")] = None,
) -> Response:
    """Run a step, again if it is completed; 400 names what it needs first. One asked for early waits for its turn."""
    experiment, _ = await _find(api, task_id)
    stage = _stage(step)
    if experiment.version not in stage.versions:
        message = f"{experiment.version} needs no {step}: skipped."
        return Json(_started(StageRecord(experiment.id, stage.name, message=message), "skipped", task_id))
    given, note = read_params(stage.name, params)
    if stage.name == "convert" and experiment.dialect == STEPWISE_DIALECT:
        await _take_files(api, experiment)
    run = await api.experiments.stages.run_or_plan(experiment.id, stage.name, given)
    if note:
        await api.experiments.notifier.log(experiment, note, level="WARNING", stage=stage.name)
    now = await api.records.experiments.get(experiment.id)
    return Json(_started(run, status_of(now, run), task_id, note))


@router.post("/{task_id}/cancel", response_model=TaskState)
async def cancel(task_id: str, api: Api) -> Response:
    """Stop what runs, within seconds; what is finished stays, and the task can go on from there."""
    experiment, task = await _find(api, task_id)
    if task is not None:
        stopped = await api.experiments.tasks.cancel(task.id)
        return Json({"task_id": task_id, "status": stopped.status, "message": stopped.message})
    await api.experiments.stages.cancel_all(experiment.id)
    after = await api.records.experiments.get(experiment.id)
    shown = step_task(after, None, await _runs(api, after), [])
    return Json({"task_id": task_id, "status": shown["status"], "message": shown["message"]})


@router.delete("/{task_id}", response_model=TaskState)
async def delete(task_id: str, api: Api) -> Response:
    """Stop a task and delete it with its files; checkpoints that a voice speaks with stay."""
    experiment, task = await _find(api, task_id)
    if task is not None:
        await api.experiments.tasks.cancel(task.id)
    else:
        await api.experiments.stages.cancel_all(experiment.id)
    await api.experiments.delete(experiment.id)
    if experiment.dialect == STEPWISE_DIALECT:
        if experiment.dataset_id is not None:
            await delete_dataset_of_files(api.datasets, api.events, experiment.dataset_id)
        for file in await _uploads(api, experiment):
            with contextlib.suppress(Conflict):  # something else was made from it
                await _delete_upload(api, file)
    return Json({"task_id": task_id, "status": "deleted", "message": "Deleted."})


@router.post("/{task_id}/files/upload", response_model=UploadedFile, openapi_extra=FORM)
async def upload(task_id: str, request: Request, api: Api) -> Response:
    """Bring a recording, or a ZIP of them; one more of the same name takes the place of the first."""
    experiment, _ = await _find(api, task_id)
    if experiment.dialect != STEPWISE_DIALECT:
        raise Conflict(f"{task_id} was made from a recording and takes no others", hint="POST /api/v1/task/create.")
    before = await _uploads(api, experiment)
    if len(before) >= MOST_FILES:
        raise Conflict(f"{task_id} has {MOST_FILES} files, the most of one task", hint="Send one ZIP.")
    async with received(request, api.storage, api.settings.max_upload_mb << 20) as incoming:
        record, _ = await take_in(api, incoming, experiment.id, zip_purpose=experiment.id)
    try:
        for older in before:
            if older.filename == record.filename:
                await _delete_upload(api, older)
    except Conflict:  # it is being read
        await _delete_upload(api, record)
        raise
    names = sorted({file.filename for file in before} | {record.filename})
    return Json(
        {
            "task_id": task_id,
            "file_id": record.id,
            "filename": record.filename,
            "size_bytes": record.size_bytes,
            "files": names,
        }
    )


@router.get("/{task_id}/files/download/{filename}", response_class=FileResponse)
async def download(task_id: str, filename: str, api: Api) -> Response:
    """A file that the task lists under that name: what was uploaded, what was trained."""
    experiment, _ = await _find(api, task_id)
    files = await _files(api, experiment)
    if filename not in files:
        raise NotFound(
            f"The task has no file {filename[:200]!r}.", hint=f"GET /api/v1/task/{task_id} lists them under `files`."
        )
    found = files[filename]
    if isinstance(found, FileRecord):
        return await download_file(found.id, api)
    path = await asyncio.to_thread(api.storage.path, found.storage_key)
    if not path.is_file():
        raise NotFound(f"The bytes of {filename!r} are gone.")
    return FileResponse(path, media_type="application/octet-stream", filename=filename)


@router.get("/{task_id}/logs", response_model=StepLogs)
async def logs(task_id: str, api: Api, limit: Limit = 500, offset: Offset = 0) -> Response:
    """What happened, oldest first."""
    experiment, _ = await _find(api, task_id)
    runs = await _runs(api, experiment)
    jobs = [f"{run.job_id.rpartition('.')[0]}.{number}" for run in runs for number in range(1, run.run + 1)]
    page = await Log(api, experiment.topic, jobs, _no_end, with_service=True).page(limit, offset)
    lines = [
        {
            "timestamp": line["timestamp"],
            "level": line["level"],
            "message": line["message"],
            "step": NAMES.get(line["stage"]),
        }
        for line in page["items"]
    ]
    return Json({"task_id": task_id, "logs": lines, "total": page["total"], "limit": limit, "offset": offset})


async def _find(api: Services, task_id: str) -> tuple[ExperimentRecord, TaskRecord | None]:
    """By the id of an experiment, or of one of our own tasks, which the list shows, too."""
    if task_id.startswith("task-"):
        task = await api.records.tasks.get(task_id)
        return await api.records.experiments.get(task.exp_id), task
    try:
        return await api.records.experiments.get(task_id), None
    except NotFound:
        raise NotFound(f"no task {task_id!r}", hint="POST /api/v1/task/create makes one.") from None


async def _runs(api: Services, experiment: ExperimentRecord) -> list[StageRecord]:
    return (await api.records.stages.of_experiments([experiment]))[experiment.id]


def _stage(step: str) -> Any:
    try:
        return find_stage(step)
    except NotFound:
        raise NotFound(f"no step {step!r}", hint=f"Steps: {', '.join(STEPS)}.") from None


def _started(run: StageRecord, status: str, task_id: str, note: str = "") -> StepStarted:
    return {
        "task_id": task_id,
        "step": NAMES[run.stage],
        "stage": run.stage,
        "status": status,
        "job_id": run.job_id or None,
        "params": run.config,
        "message": run.message,
        "warnings": [note] if note else [],
    }


async def _take_files(api: Services, experiment: ExperimentRecord) -> None:
    """Before the first step: the task begins from what was brought."""
    source = await source_of_files(
        api.datasets,
        (await _uploads(api, experiment))[::-1],
        experiment.exp_name,
        language=experiment.language,
        priority=experiment.priority,
        experiment=experiment,
    )
    await api.experiments.set_source(experiment.id, source)


async def _uploads(api: Services, experiment: ExperimentRecord) -> list[FileRecord]:
    """Newest first; the purpose of a file is the task that it was brought for."""
    return (await api.records.files.page(MOST_FILES, 0, experiment.id)).items


async def _delete_upload(api: Services, file: FileRecord) -> None:
    await api.records.files.delete(file.id)
    await asyncio.to_thread(api.storage.delete, file.storage_key)


async def _files(api: Services, experiment: ExperimentRecord) -> dict[str, FileRecord | CheckpointRecord]:
    """Name → what it is; of two with the same name the newer one has it."""
    found: dict[str, FileRecord | CheckpointRecord] = {}
    for checkpoint in (await api.records.checkpoints.page(MOST_FILES, exp_id=experiment.id)).items:
        ending = PurePosixPath(checkpoint.storage_key).suffix
        name = safe_label(f"{experiment.exp_name}_{checkpoint.kind}_e{checkpoint.epoch or 0}{ending}")
        found.setdefault(name, checkpoint)
    for file in await _uploads(api, experiment):
        found.setdefault(file.filename, file)
    return found


async def _shown_files(api: Services, experiment: ExperimentRecord) -> list[StepFile]:
    return [
        {
            "filename": name,
            "kind": "upload" if isinstance(one, FileRecord) else "model",
            "id": one.id,
            "size_bytes": one.size_bytes,
        }
        for name, one in (await _files(api, experiment)).items()
    ]


async def _no_end() -> Event | None:
    return None
