"""The model service: trainings, preprocessing and inference in one list, every JSON response in an envelope."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal

from fastapi import APIRouter, Response
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices, Limit, Offset
from api.dialects.model_service import inference, preprocessing, training
from api.dialects.model_service.envelope import PREFIX, Envelope, enveloped
from api.dialects.model_service.inference import BatchInferenceTask, SingleInferenceTask, batch_task, inference_task
from api.dialects.model_service.logs import TrainingLogFeed
from api.dialects.model_service.preprocessing import PreprocessingView, preprocessing_view
from api.dialects.model_service.training import TrainingView, training_view
from api.http.access import ADMINS, JOBS
from api.http.sse import EventStream, LastEventId
from api.routes.resources import (
    GpuList,
    LimitsView,
    ResourcesConfig,
    ResourcesView,
    apply_limits,
    gpu_list,
    resources_view,
)
from common import storage_keys
from core.errors import NotFound, TimedOut
from core.experiments.run_jobs import STOPPING_SECONDS
from core.experiments.sources import delete_dataset_of_files
from core.speech.inference_jobs import BATCH_PREFIX, INFERENCE_PREFIX

router = APIRouter(
    prefix=PREFIX,
    tags=["Model service"],
    dependencies=[JOBS],
)
for part in (training.router, preprocessing.router, inference.router):
    router.include_router(part)

TaskType = Literal["training", "inference", "batch", "preprocessing"]
AnyTask = TrainingView | SingleInferenceTask | BatchInferenceTask | PreprocessingView


class TaskLists(TypedDict):
    """A page of trainings and one of inferences, newest first, and the totals."""

    training_tasks: list[TrainingView]
    inference_tasks: list[SingleInferenceTask]
    total_training: int
    total_inference: int


class DeletedTask(TypedDict):
    """A task that was deleted."""

    id: str
    type: TaskType
    status: Literal["deleted"]


@router.get("/tasks", response_model=Envelope[TaskLists])
async def list_tasks(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """List trainings and inferences, a page of each, newest first."""
    trainings = await api.records.tasks.page(limit, offset)
    inferences = await api.inference.page(limit, offset)
    lists: TaskLists = {
        "training_tasks": [await training_view(api, task) for task in trainings.items],
        "inference_tasks": [await inference_task(api, item.job.id) for item in inferences.items],
        "total_training": trainings.total,
        "total_inference": inferences.total,
    }
    return enveloped(lists)


@router.get("/tasks/{task_id}", response_model=Envelope[AnyTask])
async def get_task(task_id: str, api: Api) -> Response:
    """Get the status of a training, an inference, a batch or a preprocessing job."""
    return enveloped(await _view(api, task_id))


@router.get("/tasks/{task_id}/logs", response_class=EventStream)
async def follow_logs(task_id: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the log of a task of any type: events `log`, and finally its end."""
    if _task_type(task_id) == "training":
        return await api.sse.respond(TrainingLogFeed(await api.logs.task(task_id)), last_event)
    await _view(api, task_id)
    return await api.sse.respond(await api.logs.job(task_id), last_event)


@router.post("/tasks/{task_id}/cancel", response_model=Envelope[AnyTask])
async def cancel_task(task_id: str, api: Api) -> Response:
    """Cancel a task of any type. One that has ended is left unchanged."""
    await _cancel(api, task_id)
    return enveloped(await _view(api, task_id))


@router.delete("/tasks/{task_id}", response_model=Envelope[DeletedTask])
async def delete_task(task_id: str, api: Api) -> Response:
    """Cancel a task of any type and delete its files. A voice that it made is kept with its checkpoints."""
    task_type = _task_type(task_id)
    await _view(api, task_id)  # 404 for an unknown one
    await _cancel(api, task_id)
    if task_type == "training":
        await api.experiments.delete((await api.records.tasks.get(task_id)).exp_id)
    elif task_type == "preprocessing":
        job = await api.datasets.get_job(task_id)
        if job.version == 1:  # later versions belong to a data set that existed before
            await delete_dataset_of_files(api.datasets, api.events, job.dataset_id)
    else:
        with contextlib.suppress(TimedOut, NotFound):
            await api.events.wait(task_id, STOPPING_SECONDS)
        await api.queue.forget(task_id)
        await asyncio.to_thread(api.storage.delete_folder, storage_keys.inference_folder(task_id))
    return enveloped(DeletedTask(id=task_id, type=task_type, status="deleted"))


@router.get("/resources", response_model=Envelope[ResourcesView])
async def get_resources(api: Api) -> Response:
    """Get the running jobs, the limits of concurrent jobs, and the hosts with their GPUs."""
    return enveloped(await resources_view(api))


@router.get("/resources/gpu", response_model=Envelope[GpuList])
async def get_gpus(api: Api) -> Response:
    """List the GPUs of all hosts."""
    return enveloped(await gpu_list(api))


@router.post("/resources/config", response_model=Envelope[LimitsView], dependencies=[ADMINS])
async def change_limits(config: ResourcesConfig, api: Api) -> Response:
    """Change the limits of concurrent jobs for all hosts. Running jobs are not stopped."""
    return enveloped(await apply_limits(api, config))


def _task_type(task_id: str) -> TaskType:
    """Return the type of a task by the prefix of its id."""
    types: dict[str, TaskType] = {INFERENCE_PREFIX: "inference", BATCH_PREFIX: "batch", "ds": "preprocessing"}
    return types.get(task_id.partition("-")[0], "training")


async def _view(api: ApiServices, task_id: str) -> AnyTask:
    """Return a task of any type; NotFound for an unknown one."""
    match _task_type(task_id):
        case "inference":
            return await inference_task(api, task_id)
        case "batch":
            return await batch_task(api, task_id)
        case "preprocessing":
            return await preprocessing_view(api, await api.datasets.get_job(task_id))
        case _:
            return await training_view(api, await api.records.tasks.get(task_id))


async def _cancel(api: ApiServices, task_id: str) -> None:
    match _task_type(task_id):
        case "inference":
            await api.inference.cancel(task_id)
        case "batch":
            await api.batches.cancel(task_id)
        case "preprocessing":
            await api.queue.cancel((await api.datasets.get_job(task_id)).job_id)
        case _:
            await api.experiments.tasks.cancel(task_id)
