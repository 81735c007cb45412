"""The list of tasks, which two kinds of client read: those of our own API and those of the eleven-step service."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset, Services
from api.dialects.training_service.steps import ListedTask, listed, listed_steps
from api.http.responses import Json
from core.errors import NotFound
from core.records import STEPWISE_DIALECT, ExperimentRecord, TaskRecord, TaskStatus

router = APIRouter(prefix="/tasks", tags=["Tasks"])


class TaskPage(TypedDict):
    items: list[ListedTask]
    total: int
    limit: int
    offset: int


@router.get("", response_model=TaskPage)
async def list_tasks(
    api: Api, limit: Limit = 50, offset: Offset = 0, status: Annotated[TaskStatus | None, Query()] = None
) -> Response:
    """The tasks, newest first; those that a client of the eleven-step service runs are among them."""
    page = await api.records.tasks.page_with_experiments(limit, offset, status)
    by_steps = [one for one in page.items if isinstance(one, ExperimentRecord)]
    runs = await api.records.stages.of_experiments(by_steps) if by_steps else {}
    items = [listed(one) if isinstance(one, TaskRecord) else listed_steps(one, runs[one.id]) for one in page.items]
    return Json({"items": items, "total": page.total, "limit": limit, "offset": offset})


@router.get("/exp-{rest}", response_model=ListedTask, include_in_schema=False)
async def get_step_task(rest: str, api: Api) -> Response:
    """One of the list that is run step by step."""
    return Json(await _shown(api, await _step_task(api, f"exp-{rest}")))


@router.delete("/exp-{rest}", response_model=ListedTask, include_in_schema=False)
async def cancel_step_task(rest: str, api: Api) -> Response:
    """Stop it; what is finished stays."""
    found = await _step_task(api, f"exp-{rest}")
    return Json(await _shown(api, await api.experiments.stages.cancel_all(found.id)))


async def _step_task(api: Services, exp_id: str) -> ExperimentRecord:
    experiment = await api.records.experiments.get(exp_id)
    if experiment.dialect != STEPWISE_DIALECT:
        raise NotFound(f"no task {exp_id!r}", hint=f"It is an experiment: GET /api/v1/experiments/{exp_id}.")
    return experiment


async def _shown(api: Services, experiment: ExperimentRecord) -> ListedTask:
    return listed_steps(experiment, (await api.records.stages.of_experiments([experiment]))[experiment.id])
