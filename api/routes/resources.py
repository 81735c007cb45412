"""Resources: GPUs, hosts, running jobs, and the limits of concurrent jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices
from api.http.access import RESOURCES
from api.http.responses import JsonResponse
from api.http.schemas import StrictModel
from core.access import current_caller
from core.jobs.loaded_models import LoadedModel, loaded_models
from core.jobs.placement import KINDS
from core.limits import MAX_LIMIT, ActiveJob, GpuInfo

router = APIRouter(
    prefix="/resources",
    tags=["Resources"],
    dependencies=[RESOURCES],
)


class DeviceLimits(TypedDict):
    """Numbers of concurrent jobs."""

    training: int
    inference: int


class ActiveJobView(TypedDict):
    """A running job that counts towards a limit."""

    job_id: str
    kind: str
    host: str
    device: str
    worker: str


class GpuView(TypedDict):
    """A GPU as its host last reported it."""

    host: str
    index: int
    device: str
    name: str
    uuid: str
    total_mb: int
    free_mb: int


class HostView(TypedDict):
    """A host."""

    host: str
    cores: int
    memory_mb: int
    gpus: int


class LoadedModelView(TypedDict):
    """A voice, a prompt or a network around them in the memory of a synthesizer."""

    worker: str
    host: str
    device: str
    kind: str
    name: str
    megabytes: float


class ResourcesView(TypedDict):
    """Running jobs, limits, GPUs, hosts, and what synthesizers have in memory."""

    device_usage: dict[str, DeviceLimits]
    active_tasks: list[ActiveJobView]
    limits: dict[str, DeviceLimits]
    gpu_info: list[GpuView]
    hosts: list[HostView]
    loaded: list[LoadedModelView]


class GpuList(TypedDict):
    """The GPUs of all hosts."""

    gpus: list[GpuView]


class LimitsView(TypedDict):
    """The limits by device."""

    max_concurrent: dict[str, DeviceLimits]


JobLimit = Annotated[int | None, Field(ge=0, le=MAX_LIMIT, description="null restores the limit of the settings.")]


class DeviceLimitsChange(StrictModel):
    """Limits to change; a limit that is left out stays as it is."""

    training: JobLimit = None
    inference: JobLimit = None


class ResourcesConfig(StrictModel):
    """Limits by device: `cpu`, `cuda` (each GPU without a limit of its own) or `cuda:N`, on every host."""

    max_concurrent: dict[str, DeviceLimitsChange] = Field(min_length=1, max_length=64)


@router.get("", response_model=ResourcesView)
async def get_resources(api: Api) -> Response:
    """Get the running jobs, their limits, the hosts with their GPUs, and the voices that synthesizers have loaded."""
    return JsonResponse(await resources_view(api))


@router.get("/gpu", response_model=GpuList)
async def get_gpus(api: Api) -> Response:
    """List the GPUs of all hosts that reported within the last minute."""
    return JsonResponse(await gpu_list(api))


@router.post("/config", response_model=LimitsView)
async def change_limits(config: ResourcesConfig, api: Api) -> Response:
    """Change the limits of concurrent jobs for all hosts, with immediate effect. Running jobs are not stopped."""
    return JsonResponse(await apply_limits(api, config))


async def resources_view(api: ApiServices) -> ResourcesView:
    """Return the running jobs, limits, GPUs and hosts."""
    active = await visible_active_jobs(api)
    hosts = await api.limits.hosts()
    limits = await api.limits.limits()
    return {
        "device_usage": count_active_jobs(limits, active),
        "active_tasks": [_active_job_view(job) for job in active],
        "limits": _device_limits(limits),
        "gpu_info": [_gpu_view(gpu) for host in hosts for gpu in host.gpus],
        "hosts": [
            {"host": host.host, "cores": host.cores, "memory_mb": host.memory_mb, "gpus": len(host.gpus)}
            for host in hosts
        ],
        "loaded": [_loaded_view(model) for model in await visible_loaded_models(api)],
    }


async def visible_loaded_models(api: ApiServices) -> list[LoadedModel]:
    """Return what synthesizers have in memory, to callers who may see the voices of all."""
    return await loaded_models(api.queue) if current_caller().sees_all else []


async def visible_active_jobs(api: ApiServices) -> list[ActiveJob]:
    """Return the running jobs that count towards limits and that the caller may see."""
    active = await api.limits.active()
    if current_caller().sees_all:
        return active
    return [job for job in active if await api.queue.job(job.job_id) is not None]


async def gpu_list(api: ApiServices) -> GpuList:
    """Return the GPUs of all hosts."""
    return {"gpus": [_gpu_view(gpu) for host in await api.limits.hosts() for gpu in host.gpus]}


async def apply_limits(api: ApiServices, config: ResourcesConfig) -> LimitsView:
    """Change the limits that the request names, and return all of them."""
    changes = {device: limits.model_dump(exclude_unset=True) for device, limits in config.max_concurrent.items()}
    return {"max_concurrent": _device_limits(await api.limits.change(changes))}


def count_active_jobs(limits: dict[str, dict[str, int]], active: list[ActiveJob]) -> dict[str, DeviceLimits]:
    """Return the number of running jobs by device and kind, on all hosts together."""
    counts = {device: dict.fromkeys(KINDS.values(), 0) for device in limits}
    for job in active:
        counts.setdefault(job.device, dict.fromkeys(KINDS.values(), 0))[job.kind] += 1
    return _device_limits(counts)


def _device_limits(counts: dict[str, dict[str, int]]) -> dict[str, DeviceLimits]:
    return {
        device: {"training": by_kind["training"], "inference": by_kind["inference"]}
        for device, by_kind in counts.items()
    }


def _active_job_view(job: ActiveJob) -> ActiveJobView:
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        "host": job.host,
        "device": job.device,
        "worker": job.worker,
    }


def _loaded_view(model: LoadedModel) -> LoadedModelView:
    return {
        "worker": model.worker,
        "host": model.host,
        "device": model.device,
        "kind": model.kind,
        "name": model.name,
        "megabytes": model.megabytes,
    }


def _gpu_view(gpu: GpuInfo) -> GpuView:
    return {
        "host": gpu.host,
        "index": gpu.index,
        "device": gpu.device,
        "name": gpu.name,
        "uuid": gpu.uuid,
        "total_mb": gpu.total_mb,
        "free_mb": gpu.free_mb,
    }
