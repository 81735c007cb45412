"""The model service: trainings, preparations and inferences in one list, every JSON response in an envelope."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from fastapi import APIRouter, Request, Response
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices, Limit, Offset
from api.dialects.model_service import inference, preprocessing, resources, training
from api.dialects.model_service.envelope import PREFIX, Envelope, enveloped
from api.dialects.model_service.inference import InferenceTaskView, find_inference, inference_task
from api.dialects.model_service.logs import LogLineResponse, ModelServiceLogFeed
from api.dialects.model_service.preprocessing import PreparationView, find_preparation, preparation_view
from api.dialects.model_service.tasks import TaskActionResponse, TaskType, ended_task_response, our_id
from api.dialects.model_service.training import TrainingView, find_training, training_view, training_views
from api.http.access import JOBS
from common import storage_keys
from core.datasets import DatasetJob
from core.errors import NotFound, TimedOut
from core.experiments.run_jobs import STOPPING_SECONDS
from core.experiments.sources import delete_dataset_of_files
from core.records import DatasetStatus
from core.speech.inference_jobs import INFERENCE_PREFIX

router = APIRouter(
    prefix=PREFIX,
    tags=["Model service"],
    dependencies=[JOBS],
)
for part in (training.router, preprocessing.router, inference.router, resources.router):
    router.include_router(part)

CANCELLED: Final = "The task is cancelled."
DELETED: Final = "The task is deleted."
DATASET_PREFIX: Final = "ds"
AnyTask = TrainingView | InferenceTaskView | PreparationView


class TaskLists(TypedDict):
    """Trainings and inferences, newest first, and the totals."""

    training_tasks: list[TrainingView]
    inference_tasks: list[InferenceTaskView]
    total_training: int
    total_inference: int


@router.get("/tasks", response_model=Envelope[TaskLists])
async def list_tasks(
    request: Request,
    api: Api,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """List trainings and inferences, newest first."""
    trainings = await api.records.tasks.page(limit, offset)
    inferences = await api.inference.page(limit, offset)
    lists: TaskLists = {
        "training_tasks": await training_views(api, trainings.items),
        "inference_tasks": [await inference_task(api, item, request) for item in inferences.items],
        "total_training": trainings.total,
        "total_inference": inferences.total,
    }
    return enveloped(lists)


@router.get("/tasks/{task_id}", response_model=Envelope[AnyTask])
async def get_task(task_id: str, request: Request, api: Api) -> Response:
    """Get the status of a training, an inference or a preparation."""
    our = await our_id(api, task_id)
    view: AnyTask
    match _task_type(our):
        case "inference":
            view = await inference_task(api, await find_inference(api, our), request)
        case "preprocessing":
            view = await preparation_view(api, await find_preparation(api, our))
        case _:
            view = await training_view(api, await find_training(api, our))
    return enveloped(view)


@router.get("/tasks/{task_id}/logs", response_model=Envelope[list[LogLineResponse]])
async def get_logs(task_id: str, api: Api) -> Response:
    """Get the log of a task as an array, oldest line first. The event streams are under the paths of each type."""
    our = await our_id(api, task_id)
    if _task_type(our) == "training":
        return enveloped(await ModelServiceLogFeed(await api.logs.task(our)).lines())
    return enveloped(await ModelServiceLogFeed(await api.logs.job(our)).lines())


@router.post("/tasks/{task_id}/cancel", response_model=Envelope[TaskActionResponse])
async def cancel_task(task_id: str, api: Api) -> Response:
    """Cancel a task of any type. One that has ended is left unchanged: `status` is error then."""
    ended = await _cancel(api, await our_id(api, task_id))
    if ended:
        return enveloped(ended_task_response(task_id, ended))
    return enveloped(TaskActionResponse(status="success", message=CANCELLED, task_id=task_id))


@router.delete("/tasks/{task_id}", response_model=Envelope[TaskActionResponse])
async def delete_task(task_id: str, api: Api) -> Response:
    """Cancel a task of any type and delete its files. A voice that it made is kept with its checkpoints."""
    our = await our_id(api, task_id)
    await _cancel(api, our)
    match _task_type(our):
        case "inference":
            with contextlib.suppress(TimedOut, NotFound):
                await api.events.wait(our, STOPPING_SECONDS)
            await api.queue.forget(our)
            await asyncio.to_thread(api.storage.delete_folder, storage_keys.inference_folder(our))
        case "preprocessing":
            job = await api.datasets.get_job(our)
            if job.version == 1:  # later versions belong to a data set that existed before
                await delete_dataset_of_files(api.datasets, api.events, job.dataset_id)
        case _:
            await api.experiments.delete((await api.records.tasks.get(our)).exp_id)
    await api.records.client_task_ids.forget(our)
    return enveloped(TaskActionResponse(status="success", message=DELETED, task_id=task_id))


def _task_type(task_id: str) -> TaskType:
    """Return the type of a task by the prefix of our id."""
    types: dict[str, TaskType] = {INFERENCE_PREFIX: "inference", DATASET_PREFIX: "preprocessing"}
    return types.get(task_id.partition("-")[0], "training")


async def _cancel(api: ApiServices, task_id: str) -> str:
    """Cancel a task, and return how it had ended before, if it had; NotFound for an unknown one."""
    match _task_type(task_id):
        case "inference":
            inference = await api.inference.get(task_id)
            if inference.status.terminal:
                return inference.status
            await api.inference.cancel(task_id)
        case "preprocessing":
            job = await api.datasets.get_job(task_id)
            if job.status is not DatasetStatus.PREPARING:
                return _ended_status(job)
            await api.queue.cancel(job.job_id)
        case _:
            task = await api.records.tasks.get(task_id)
            if task.status.terminal:
                return task.status
            await api.experiments.tasks.cancel(task_id)
    return ""


def _ended_status(job: DatasetJob) -> str:
    if job.status is DatasetStatus.READY:
        return "completed"
    return "cancelled" if job.error is not None and job.error.get("code") == "cancelled" else "failed"
