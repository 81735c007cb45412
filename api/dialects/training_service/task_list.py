"""The list of tasks, which clients of the native API and of the eleven-step service read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.dependencies import Api, Limit, Offset
from api.dialects.training_service.steps import ListedTask, listed_step_task, listed_task
from api.http.access import TRAINING
from api.http.responses import JsonResponse
from api.http.schemas import PageView
from api.routes.tasks import CancelledTask, cancelled_view
from core.records import UNDER_WAY, ExperimentRecord, TaskRecord, TaskStatus

router = APIRouter(
    prefix="/tasks",
    tags=["Tasks"],
    dependencies=[TRAINING],
)


class TaskPage(PageView[ListedTask]):
    """A page of tasks; `tasks` is the same list as `items`."""

    tasks: list[ListedTask]


@router.get("", response_model=TaskPage)
async def list_tasks(
    api: Api, limit: Limit = 50, offset: Offset = 0, status: Annotated[TaskStatus | None, Query()] = None
) -> Response:
    """List tasks, newest first, with those that clients of the eleven-step service run step by step.

    `items` and `tasks` are the same list: each kind of client reads its own. `status=running` includes tasks that are
    interrupted or paused.
    """
    statuses = UNDER_WAY if status is TaskStatus.RUNNING else () if status is None else (status,)
    page = await api.records.tasks.page_with_experiments(limit, offset, statuses)
    experiments = [record for record in page.items if isinstance(record, ExperimentRecord)]
    runs = await api.records.stages.of_experiments(experiments) if experiments else {}

    def view(record: TaskRecord | ExperimentRecord) -> ListedTask:
        return listed_task(record) if isinstance(record, TaskRecord) else listed_step_task(record, runs[record.id])

    items = [view(record) for record in page.items]
    content: TaskPage = {"items": items, "tasks": items, "total": page.total, "limit": limit, "offset": offset}
    return JsonResponse(content)


@router.get("/exp-{rest}", response_model=ListedTask, include_in_schema=False)
@router.get("/task-steps-{rest}", response_model=ListedTask, include_in_schema=False)
async def get_step_task(rest: str, api: Api) -> Response:
    """Get a task of the list that is run step by step."""
    experiment = await api.step_tasks.find_step_task(rest)
    return JsonResponse(listed_step_task(experiment, await api.step_tasks.runs(experiment)))


@router.delete("/exp-{rest}", response_model=CancelledTask, include_in_schema=False)
@router.delete("/task-steps-{rest}", response_model=CancelledTask, include_in_schema=False)
async def cancel_step_task(rest: str, api: Api) -> Response:
    """Cancel a task that is run step by step. What is finished is kept."""
    experiment = await api.step_tasks.find_step_task(rest)
    experiment = await api.step_tasks.cancel(experiment)
    return JsonResponse(cancelled_view(listed_step_task(experiment, await api.step_tasks.runs(experiment))))
