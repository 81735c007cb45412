"""Tasks: Quick mode, a recording in, a voice out."""

from __future__ import annotations

import time
from typing import Final, Literal, NotRequired

from fastapi import APIRouter, Response, WebSocket
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, SocketApi
from api.http.access import TRAINING
from api.http.event_sockets import LastEventIdParameter, send_events
from api.http.idempotency import IdempotencyKey
from api.http.localization import LocalizedFeed, localized, localized_error, localized_message
from api.http.responses import JsonResponse
from api.http.schedule import ScheduleAt, scheduled_time
from api.http.schemas import JsonObjectView, StrictModel
from api.http.sse import EventStream, LastEventId
from api.services.progress import task_feed
from api.services.trained_language import warn_of_unknown_language
from common.versions import RequestedVersion
from core.errors import NotFound
from core.experiments.requests import TaskRequest
from core.experiments.training_results import summarize_trainings
from core.names import Name
from core.records import UNDER_WAY, TaskRecord, TaskStatus, iso

router = APIRouter(
    prefix="/tasks",
    tags=["Tasks"],
    dependencies=[TRAINING],
)
CANCELLED_MESSAGE: Final = "任务已取消"


MIN_ESTIMATED_SHARE: Final = 0.03
"""Of a task; before so much is done, nothing can be said of the rest."""


class TaskOptions(StrictModel):
    """How the voice is made."""

    version: RequestedVersion | None = Field(
        None, description="Default: that of the server; `auto` is the best that is installed."
    )
    language: str = Field("zh", description="Language of the recording: zh, en, ja, ko, yue or auto.")
    quality: Literal["fast", "standard", "high"] = Field("standard", description="How long the models are trained.")
    dataset_id: str | None = Field(None, description="A data set from POST /datasets, instead of audio_file_id.")
    dataset_version: int | None = Field(None, ge=1, le=2**31 - 1, description="Default: the newest version.")
    device: str = Field("", max_length=20, description="Device to train on: cuda, cuda:N or cpu. Default: any.")


class CreateTaskBody(StrictModel):
    """A voice to make of an uploaded recording."""

    exp_name: Name = Field(min_length=1, max_length=100, description="Name of the voice.")
    audio_file_id: str | None = Field(
        None, description="A recording from POST /files. Either this or options.dataset_id."
    )
    options: TaskOptions = TaskOptions()
    consent_id: str = Field(
        "", max_length=64, description="From POST /consents: the speaker's consent. A spoken one is compared."
    )
    priority: int = Field(5, ge=1, le=10, description="10 runs first.")
    schedule_at: ScheduleAt = None
    webhook_url: str = Field("", max_length=2000, description="Receives a POST when the task ends (docs/webhooks.md).")
    idempotency_key: str = Field(
        "", max_length=200, description="Repeating the request with the same key returns the same task."
    )


class TaskView(TypedDict):
    """A task: `status` in the words of the tasks service, `state` in our own."""

    id: str
    exp_name: str
    status: str
    state: str
    current_stage: str | None
    progress: float
    overall_progress: float
    message: str | None
    error_message: str | None
    error: JsonObjectView | None
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    voice_id: str | None
    exp_id: str
    audio_file_id: str | None
    options: dict[str, str]
    priority: int
    schedule_at: str | None
    remaining_seconds: float | None
    """An estimate, of a running task."""
    result: NotRequired[JsonObjectView]


class CancelledTask(TaskView):
    """A task that was cancelled."""

    success: bool


@router.post("", status_code=201, response_model=TaskView)
async def create_task(new: CreateTaskBody, api: Api, key: IdempotencyKey) -> Response:
    """Make a voice of a recording or a data set: all stages from slicing to training run one after the other.

    404 for an unknown recording or data set. With an idempotency key, in the body or the header, the request can be
    repeated safely.
    """
    options = new.options
    language_of_dataset = bool(options.dataset_id) and "language" not in options.model_fields_set
    request = TaskRequest(
        new.exp_name,
        new.audio_file_id,
        version=options.version or "",
        language="" if language_of_dataset else options.language,
        quality=options.quality,
        priority=new.priority,
        idempotency_key=key,
        webhook_url=api.webhooks.check_url(new.webhook_url) if new.webhook_url else "",
        schedule_at=scheduled_time(new.schedule_at),
        device=options.device,
        dataset_id=options.dataset_id,
        dataset_version=options.dataset_version,
        consent_id=new.consent_id,
    )
    task = await api.experiments.tasks.create(request)
    warn_of_unknown_language(task.version, task.language)
    return JsonResponse(task_view(task), 201)


@router.get("/{task_id}", response_model=TaskView)
async def get_task(task_id: str, api: Api) -> Response:
    """Get the status of a task. `result` of a completed one lists the evaluated checkpoints of both models."""
    task = await api.records.tasks.get(task_id)
    view = task_view(task)
    if task.status is TaskStatus.COMPLETED:
        view["result"] = await summarize_trainings(api.records, task.exp_id)
    return JsonResponse(view)


@router.delete("/{task_id}", response_model=CancelledTask)
async def cancel_task(task_id: str, api: Api) -> Response:
    """Cancel a task. It stops within seconds and keeps what is finished; 404 for one that has ended."""
    try:
        status = (await api.records.tasks.get(task_id)).status
        if status.terminal:
            raise NotFound(f"task {task_id} is {status}", hint="It has ended; there is nothing to cancel.")
    except NotFound as error:
        literal = "Task not found or cannot be cancelled"
        raise NotFound(error.message, hint=error.hint, literal=literal) from None
    return JsonResponse(cancelled_view(task_view(await api.experiments.tasks.cancel(task_id))))


@router.get("/{task_id}/progress", response_class=EventStream)
async def watch_task(task_id: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the events of a task: `progress`, `checkpoint`, `log`, then `completed`, `failed` or `cancelled`."""
    feed = LocalizedFeed(task_feed(api.records, api.queue, api.events, task_id))
    return await api.sse.respond(feed, last_event, heartbeat_events=True)


@router.websocket("/{task_id}/ws")
async def watch_task_by_websocket(
    websocket: WebSocket, task_id: str, api: SocketApi, last_event: LastEventIdParameter = ""
) -> None:
    """Send the events of `…/progress` as JSON messages `{id, event, data}`, and close after the last one."""

    async def open_feed() -> LocalizedFeed:
        return LocalizedFeed(task_feed(api.records, api.queue, api.events, task_id))

    await send_events(websocket, api.sse, open_feed, last_event)


def remaining_seconds(task: TaskRecord, now: float) -> float | None:
    """Return the time that a running task still needs if it goes on as before; None while too little of it is done."""
    if task.status is not TaskStatus.RUNNING or task.started_at is None or task.overall_progress < MIN_ESTIMATED_SHARE:
        return None
    return round((now - task.started_at) * (1 / task.overall_progress - 1), 1)


def task_view(task: TaskRecord) -> TaskView:
    """Return a task as the API shows it."""
    return {
        "id": task.id,
        "exp_name": task.exp_name,
        "status": TaskStatus.RUNNING if task.status in UNDER_WAY else task.status,
        "state": _state(task),
        "current_stage": task.current_stage if task.started_at is not None else None,
        "progress": task.progress,
        "overall_progress": task.overall_progress,
        "message": localized(task.message, task.error) or None,
        "error_message": localized_message(task.error),
        "error": localized_error(task.error),
        "created_at": iso(task.created_at),
        "started_at": iso(task.started_at),
        "completed_at": iso(task.completed_at),
        "voice_id": task.voice_id,
        "exp_id": task.exp_id,
        "audio_file_id": task.audio_file_id,
        "options": {"version": task.version, "language": task.language, "quality": task.quality},
        "priority": task.priority,
        "schedule_at": iso(task.schedule_at),
        "remaining_seconds": remaining_seconds(task, time.time()),
    }


def cancelled_view(view: TaskView) -> CancelledTask:
    """Return a task as the response to its cancellation shows it."""
    return {**view, "message": CANCELLED_MESSAGE, "success": True}


def _state(task: TaskRecord) -> str:
    waits = task.status is TaskStatus.QUEUED and task.schedule_at is not None and task.schedule_at > time.time()
    return "scheduled" if waits else task.status
