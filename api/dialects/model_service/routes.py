"""The model service: trainings, preprocessing and inference in one list, every JSON answer in an envelope."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Response
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset, Services, require_key
from api.dialects.model_service import inference as model_inference
from api.dialects.model_service import preprocessing as model_preprocessing
from api.dialects.model_service import training as model_training
from api.dialects.model_service.envelope import PREFIX, Envelope, enveloped, wrapped
from api.dialects.model_service.inference import BatchInference, OneInference, shown_batch, shown_inference
from api.dialects.model_service.logs import training_stream
from api.dialects.model_service.preprocessing import PreparationView, preparation_view
from api.dialects.model_service.training import TrainingView, training_view
from api.http.sse import EventStream, last_event_id
from api.routes import logs, resources
from api.routes.resources import GpuPage, LimitsView, ResourcesConfig, ResourcesView
from common.storage_keys import inference_folder
from core.errors import NotFound, TimedOut
from core.experiments.run_jobs import STOPPING_SECONDS
from core.experiments.sources import delete_dataset_of_files
from core.speech.inference_jobs import BATCH_PREFIX, INFERENCE_PREFIX

router = APIRouter(prefix=PREFIX, tags=["Model service"], dependencies=[Depends(require_key)])
for part in (model_training.router, model_preprocessing.router, model_inference.router):
    router.include_router(part)

Kind = Literal["training", "inference", "batch", "preprocessing"]
AnyTask = TrainingView | OneInference | BatchInference | PreparationView


class TaskLists(TypedDict):
    """Both kinds, newest first, and how many there are in all."""

    training_tasks: list[TrainingView]
    inference_tasks: list[OneInference]
    total_training: int
    total_inference: int


class DeletedTask(TypedDict):
    id: str
    type: Kind
    status: Literal["deleted"]


@router.get("/tasks", response_model=Envelope[TaskLists])
async def list_tasks(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """The trainings and the inferences, a page of each."""
    trainings = await api.records.tasks.page(limit, offset)
    inferences = await api.inference.page(limit, offset)
    return enveloped(
        {
            "training_tasks": [await training_view(api, one) for one in trainings.items],
            "inference_tasks": [await shown_inference(api, one.job.id) for one in inferences.items],
            "total_training": trainings.total,
            "total_inference": inferences.total,
        }
    )


@router.get("/tasks/{task_id}", response_model=Envelope[AnyTask])
async def get_task(task_id: str, api: Api) -> Response:
    """Where something is, whatever it is."""
    return enveloped(await _view(api, task_id))


@router.get("/tasks/{task_id}/logs", response_class=EventStream)
async def follow_logs(
    task_id: str, api: Api, last_event: Annotated[str, Header(alias="Last-Event-ID")] = ""
) -> Response:
    """Events `log`, and at last the end."""
    after = last_event_id(last_event)
    if _kind(task_id) == "training":
        return EventStream(training_stream(api, await logs.of_task(api, task_id), after))
    await _view(api, task_id)
    return EventStream((await logs.of_job(api, task_id)).stream(after))


@router.post("/tasks/{task_id}/cancel", response_model=Envelope[AnyTask])
async def cancel_task(task_id: str, api: Api) -> Response:
    """Stop something; what has ended stays as it is."""
    await _cancel(api, task_id)
    return enveloped(await _view(api, task_id))


@router.delete("/tasks/{task_id}", response_model=Envelope[DeletedTask])
async def delete_task(task_id: str, api: Api) -> Response:
    """Stop something and delete its files; a voice stays, with what it speaks with."""
    kind = _kind(task_id)
    view: Any = await _view(api, task_id)
    await _cancel(api, task_id)
    if kind == "training":
        await api.experiments.delete(view["exp_id"])
    elif kind == "preprocessing" and view["dataset_version"] == 1:
        await delete_dataset_of_files(api.datasets, api.events, view["dataset_id"])
    elif kind != "preprocessing":
        with contextlib.suppress(TimedOut, NotFound):
            await api.events.wait(task_id, STOPPING_SECONDS)
        await api.queue.forget(task_id)
        await asyncio.to_thread(api.storage.delete_folder, inference_folder(task_id))
    return enveloped({"id": task_id, "type": kind, "status": "deleted"})


@router.get("/resources", response_model=Envelope[ResourcesView])
async def get_resources(api: Api) -> Response:
    """What runs where, and how much may."""
    return wrapped(await resources.get_resources(api))


@router.get("/resources/gpu", response_model=Envelope[GpuPage])
async def get_gpus(api: Api) -> Response:
    """The GPUs of all hosts."""
    return wrapped(await resources.get_gpus(api))


@router.post("/resources/config", response_model=Envelope[LimitsView])
async def change_limits(config: ResourcesConfig, api: Api) -> Response:
    """Change how much may run at once, for all hosts; what runs already goes on."""
    return wrapped(await resources.change_limits(config, api))


def _kind(task_id: str) -> Kind:
    kinds: dict[str, Kind] = {INFERENCE_PREFIX: "inference", BATCH_PREFIX: "batch", "ds": "preprocessing"}
    return kinds.get(task_id.partition("-")[0], "training")


async def _view(api: Services, task_id: str) -> AnyTask:
    match _kind(task_id):
        case "inference":
            return await shown_inference(api, task_id)
        case "batch":
            return await shown_batch(api, task_id)
        case "preprocessing":
            return await preparation_view(api, await api.datasets.get_job(task_id))
        case _:
            return await training_view(api, await api.records.tasks.get(task_id))


async def _cancel(api: Services, task_id: str) -> None:
    match _kind(task_id):
        case "inference":
            await api.inference.cancel(task_id)
        case "batch":
            await api.batches.cancel(task_id)
        case "preprocessing":
            await api.queue.cancel((await api.datasets.get_job(task_id)).job_id)
        case _:
            await api.experiments.tasks.cancel(task_id)
