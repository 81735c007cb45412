"""Tasks: recording in, voice out; watched by as many as like."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset, Services
from api.responses import Json
from api.sse import EventStream, last_event_id, replay
from core.errors import InvalidRequest, QueueUnavailable
from core.events import Event
from core.records import TaskRecord, TaskStatus, iso

router = APIRouter(prefix="/tasks", tags=["Tasks"])


class TaskOptions(BaseModel):
    """How the voice is made."""

    model_config = ConfigDict(extra="forbid")

    version: Literal["v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4", "nano"] = "v2"
    language: str = Field("zh", description="What is spoken in the recording: zh, en, ja, ko, yue or auto.")
    quality: Literal["fast", "standard", "high"] = Field("standard", description="How long the models are trained.")


class NewTask(BaseModel):
    """A voice to be made from an uploaded recording."""

    model_config = ConfigDict(extra="forbid")

    exp_name: str = Field(min_length=1, max_length=100, description="The voice's name.")
    audio_file_id: str = Field(description="From POST /files.")
    options: TaskOptions = TaskOptions()
    priority: int = Field(5, ge=1, le=10, description="10 goes first.")
    schedule_at: datetime | None = Field(None, description="Not before this time.")
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
    error: dict[str, Any] | None
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    voice_id: str | None
    exp_id: str
    audio_file_id: str | None
    options: dict[str, str]
    priority: int
    schedule_at: str | None


class TaskPage(TypedDict):
    items: list[TaskView]
    total: int
    limit: int
    offset: int


@router.post("", status_code=201, response_model=TaskView)
async def create_task(new: NewTask, api: Api, idempotency_key: Annotated[str, Header(max_length=200)] = "") -> Response:
    """Begin a task; with an idempotency key, in the body or the header, repeating this is harmless."""
    schedule_at = _moment(new.schedule_at)
    if schedule_at is not None and schedule_at < time.time() - 60:
        raise InvalidRequest(f"schedule_at is {new.schedule_at}, which has passed.", hint="Leave it out to begin now.")
    task = await api.experiments.create_task(
        new.exp_name,
        new.audio_file_id,
        new.options.version,
        new.options.language,
        new.options.quality,
        new.priority,
        new.idempotency_key or idempotency_key,
        schedule_at=schedule_at,
    )
    return Json(task_view(task), 201)


@router.get("", response_model=TaskPage)
async def list_tasks(
    api: Api, limit: Limit = 50, offset: Offset = 0, status: Annotated[TaskStatus | None, Query()] = None
) -> Response:
    """The tasks, newest first."""
    page = await api.records.list_tasks(limit, offset, status)
    return Json(
        {
            "items": [task_view(one) for one in page.items],
            "total": page.total,
            "limit": limit,
            "offset": offset,
        }
    )


@router.get("/{task_id}", response_model=TaskView)
async def get_task(task_id: str, api: Api) -> Response:
    """Where a task is."""
    return Json(task_view(await api.records.get_task(task_id)))


@router.delete("/{task_id}", response_model=TaskView)
async def cancel_task(task_id: str, api: Api) -> Response:
    """Stop a task within seconds and keep what is finished; a task that has ended stays as it is."""
    return Json(task_view(await api.experiments.cancel_task(task_id)))


@router.get("/{task_id}/progress", response_class=EventStream)
async def watch_task(
    task_id: str, request: Request, api: Api, last_event: Annotated[str, Header(alias="Last-Event-ID")] = ""
) -> Response:
    """Events `progress`, `checkpoint`, `log`, and at last `completed`, `failed` or `cancelled`."""
    task = await api.records.get_task(task_id)
    after = last_event_id(last_event)
    if task.status.terminal:
        return EventStream(replay(await _history(api, task_id, after), _ending(task)))
    return EventStream(_watched(api, task_id, after))


@router.get("/{task_id}/logs")
async def task_logs(task_id: str, api: Api, limit: Limit = 500) -> Response:
    """The newest log lines of a task, oldest first."""
    await api.records.get_task(task_id)
    lines = [{"id": event.id, **event.data} for event in await _history(api, task_id, "0") if event.kind == "log"]
    return Json({"items": lines[-limit:], "total": len(lines), "limit": limit, "offset": max(0, len(lines) - limit)})


async def _history(api: Services, task_id: str, after: str) -> list[Event]:
    """What is remembered; the end is told even when nobody can be asked for the rest."""
    try:
        return await api.events.history(task_id, after)
    except QueueUnavailable:
        return []


async def _watched(api: Services, task_id: str, after: str) -> AsyncGenerator[bytes, None]:
    async def look_again() -> Event | None:
        task = await api.records.get_task(task_id)
        return _ending(task) if task.status.terminal else None

    with api.metrics.watchers.track_inprogress():
        async with aclosing(api.watchers.watch(partial(api.events.watch, task_id), after, look_again)) as chunks:
            async for chunk in chunks:
                yield chunk


def _ending(task: TaskRecord) -> Event:
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


def _moment(given: datetime | None) -> float | None:
    """Seconds since the epoch; a time without a zone is UTC."""
    if given is None:
        return None
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()


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
