"""Tasks of the model service: one shape for trainings, inferences and preparations."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NotRequired

from typing_extensions import TypedDict

from api.dependencies import ApiServices
from api.dialects.model_service.inputs import OUR_PREFIXES
from core.ids import is_generated
from core.speech.inference import InferenceStatus

TaskType = Literal["training", "inference", "preprocessing"]
ModelServiceStatus = Literal["pending", "running", "completed", "failed", "cancelled"]

STATUSES: Final[Mapping[str, ModelServiceStatus]] = {
    "queued": "pending",
    "running": "running",
    "interrupted": "running",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}
"""Our statuses of tasks and inferences → those of the service."""
assert STATUSES.keys() >= set(InferenceStatus)


class TaskResponse(TypedDict):
    """A task."""

    task_id: str
    task_type: TaskType
    status: ModelServiceStatus
    message: str
    progress: int
    device: str
    priority: int
    description: str | None
    created_at: str | None
    updated_at: str | None
    warnings: NotRequired[list[str]]


class TaskActionResponse(TypedDict):
    """What came of an action."""

    status: Literal["success", "error"]
    message: str
    task_id: str


def percent(fraction: float, *, completed: bool) -> int:
    """Return progress from 0 to 1 as an integer, which is 100 only when all is done."""
    return 100 if completed else min(99, max(0, int(100 * fraction)))


def with_notes(message: str, *notes: str) -> str:
    """Return a message with sentences behind it."""
    return " ".join(part for part in (message, *notes) if part)


@dataclass(slots=True)
class TaskReservation:
    """The id that a client chose for a task which is being created."""

    task_id: str = ""
    """Ours, once the task exists."""


@contextlib.asynccontextmanager
async def reserved_task_id(api: ApiServices, name: str | None) -> AsyncIterator[TaskReservation]:
    """Keep the id that a client chose while the block creates its task and names it; do nothing without one.

    Raises:
        Conflict: the id is taken.
    """
    reservation = TaskReservation()
    if name is None:
        yield reservation
        return
    await api.records.client_task_ids.reserve(name)
    try:
        yield reservation
    except BaseException:
        await api.records.client_task_ids.release(name)
        raise
    await api.records.client_task_ids.assign(name, reservation.task_id)


async def our_id(api: ApiServices, task_id: str) -> str:
    """Return our id of a task, by the id that a client chose or by ours."""
    if is_generated(task_id, *OUR_PREFIXES):
        return task_id
    return await api.records.client_task_ids.find(task_id) or task_id


def ended_task_response(task_id: str, status: str) -> TaskActionResponse:
    """Return the response to an action on a task that has ended already."""
    return {"status": "error", "message": f"The task has ended already: it is {STATUSES[status]}.", "task_id": task_id}
