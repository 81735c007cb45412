"""Tasks: recording in, voice out; watched by as many as like."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Literal, NotRequired

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dependencies import Api, Services
from api.http.idempotency import RequestKey
from api.http.responses import Json
from api.http.schedule import ScheduleAt, moment
from api.http.sse import EventStream, last_event_id, replay
from core.errors import ErrorData, QueueUnavailable
from core.experiments.requests import TaskRequest
from core.experiments.training_results import task_results
from core.jobs.job import Event
from core.records import TaskRecord, TaskStatus, iso

router = APIRouter(prefix="/tasks", tags=["Tasks"])


Version = Literal["v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4", "nano"]


class TaskOptions(BaseModel):
    """How the voice is made."""

    model_config = ConfigDict(extra="forbid")

    version: Version = "v2"
    language: str = Field("zh", description="What is spoken in the recording: zh, en, ja, ko, yue or auto.")
    quality: Literal["fast", "standard", "high"] = Field("standard", description="How long the models are trained.")
    dataset_id: str | None = Field(None, description="From POST /datasets, in place of audio_file_id.")
    dataset_version: int | None = Field(None, ge=1, le=2**31 - 1, description="The newest when none is named.")
    device: str = Field("", max_length=20, description="Where it trains: cuda, cuda:N or cpu; empty: what is free.")


class NewTask(BaseModel):
    """A voice to be made from an uploaded recording."""

    model_config = ConfigDict(extra="forbid")

    exp_name: str = Field(min_length=1, max_length=100, description="The voice's name.")
    audio_file_id: str | None = Field(None, description="From POST /files; this or options.dataset_id.")
    options: TaskOptions = TaskOptions()
    priority: int = Field(5, ge=1, le=10, description="10 goes first.")
    schedule_at: ScheduleAt = None
    webhook_url: str = Field("", max_length=2000, description="Told of the task's end (docs/webhooks.md).")
    idempotency_key: str = Field("", max_length=200, description="The same key answers with the same task.")


class TaskView(TypedDict):
    """A task."""

    id: str
    exp_name: str
    status: str
    current_stage: str
    progress: float
    overall_progress: float
    message: str
    error_message: str | None
    error: ErrorData | None
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    voice_id: str | None
    exp_id: str
    audio_file_id: str | None
    options: dict[str, str]
    priority: int
    schedule_at: str | None
    result: NotRequired[dict[str, Any]]


@router.post("", status_code=201, response_model=TaskView)
async def create_task(new: NewTask, api: Api, key: RequestKey) -> Response:
    """Begin a task; with an idempotency key, in the body or the header, repeating this is harmless."""
    task = await api.experiments.tasks.create(
        TaskRequest(
            new.exp_name,
            new.audio_file_id,
            version=new.options.version,
            language=new.options.language
            if "language" in new.options.model_fields_set or not new.options.dataset_id
            else "",
            quality=new.options.quality,
            priority=new.priority,
            idempotency_key=key,
            webhook_url=api.webhooks.check_url(new.webhook_url) if new.webhook_url else "",
            schedule_at=moment(new.schedule_at),
            device=new.options.device,
            dataset_id=new.options.dataset_id,
            dataset_version=new.options.dataset_version,
        )
    )
    return Json(task_view(task), 201)


@router.get("/{task_id}", response_model=TaskView)
async def get_task(task_id: str, api: Api) -> Response:
    """Where a task is; a completed one tells the checkpoints of both models as they were judged (`result`)."""
    task = await api.records.tasks.get(task_id)
    view = task_view(task)
    if task.status is TaskStatus.COMPLETED:
        view["result"] = await task_results(api.records, task.exp_id)
    return Json(view)


@router.delete("/{task_id}", response_model=TaskView)
async def cancel_task(task_id: str, api: Api) -> Response:
    """Stop a task within seconds and keep what is finished; a task that has ended stays as it is."""
    return Json(task_view(await api.experiments.tasks.cancel(task_id)))


@router.get("/{task_id}/progress", response_class=EventStream)
async def watch_task(
    task_id: str, request: Request, api: Api, last_event: Annotated[str, Header(alias="Last-Event-ID")] = ""
) -> Response:
    """Events `progress`, `checkpoint`, `log`, and at last `completed`, `failed` or `cancelled`."""
    task = await api.records.tasks.get(task_id)
    after = last_event_id(last_event)
    if task.status.terminal:
        return EventStream(replay(await _history(api, task_id, after), ending(task)))
    return EventStream(_watched(api, task_id, after))


async def _history(api: Services, task_id: str, after: str) -> list[Event]:
    """What is remembered; the end is told even when nobody can be asked for the rest."""
    try:
        return await api.queue.event_history(task_id, after)
    except QueueUnavailable:
        return []


async def _watched(api: Services, task_id: str, after: str) -> AsyncGenerator[bytes, None]:
    async def look_again() -> Event | None:
        task = await api.records.tasks.get(task_id)
        return ending(task) if task.status.terminal else None

    with api.metrics.watchers.track_inprogress():
        async with aclosing(api.watchers.watch(partial(api.events.watch, task_id), after, look_again)) as chunks:
            async for chunk in chunks:
                yield chunk


def ending(task: TaskRecord) -> Event:
    """The terminal event of a task, from its record, for when nobody remembers the one that was published."""
    data: dict[str, Any] = {
        "task_id": task.id,
        "status": task.status,
        "overall_progress": task.overall_progress,
        "message": task.message,
    }
    if task.voice_id is not None:
        data["voice_id"] = task.voice_id
    if task.error is not None:
        data["error"] = task.error
    return Event(id=f"{round((task.completed_at or 0) * 1000)}-0", kind=str(task.status), data=data)


def task_view(task: TaskRecord) -> TaskView:
    return {
        "id": task.id,
        "exp_name": task.exp_name,
        "status": task.status,
        "current_stage": task.current_stage,
        "progress": task.progress,
        "overall_progress": task.overall_progress,
        "message": task.message,
        "error_message": task.error_message,
        "error": task.error,
        "created_at": iso(task.created_at),
        "started_at": iso(task.started_at),
        "completed_at": iso(task.completed_at),
        "voice_id": task.voice_id,
        "exp_id": task.exp_id,
        "audio_file_id": task.audio_file_id,
        "options": {"version": task.version, "language": task.language, "quality": task.quality},
        "priority": task.priority,
        "schedule_at": iso(task.schedule_at),
    }
