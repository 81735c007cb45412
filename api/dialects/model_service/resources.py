"""Devices and limits as the model service shows them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Response
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices
from api.dialects.model_service.envelope import Envelope, enveloped
from api.dialects.model_service.inputs import CPU, GPU, ModelServiceRequest
from api.http.access import ADMINS
from api.http.errors import InvalidBody
from api.routes.resources import DeviceLimits, count_active_jobs, visible_active_jobs
from core.jobs.devices import parse_device
from core.jobs.placement import KINDS, default_limit
from core.limits import MAX_LIMIT, ActiveJob, HostInfo, Limits

router = APIRouter(prefix="/resources")

CONFIGURED: Final = "资源配置已更新"
MIB_PER_GIB: Final = 1024


class GpuDevice(TypedDict):
    """A GPU."""

    id: int
    device_name: str
    name: str
    compute_capability: str
    total_memory_gb: float
    allocated_memory_gb: float
    cached_memory_gb: float
    free_memory_gb: float
    utilization: float
    current_tasks: DeviceLimits
    host: str


class GpuSummary(TypedDict):
    """The GPUs of all hosts."""

    available: bool
    count: int
    cuda_version: str | None
    pytorch_version: str
    devices: list[GpuDevice]


class ActiveTask(TypedDict):
    """A task that is running."""

    id: str
    type: Literal["training", "inference"]


class ResourceUsage(TypedDict):
    """Running tasks and limits by device, and the GPUs."""

    device_usage: dict[str, DeviceLimits]
    active_tasks: dict[str, list[ActiveTask]]
    limits: dict[str, DeviceLimits]
    gpu_info: GpuSummary


JobLimit = Annotated[int, Field(ge=0, le=MAX_LIMIT)]


class LimitsChange(ModelServiceRequest):
    """Limits of one device; one that is left out stays as it is."""

    training: JobLimit | None = None
    inference: JobLimit | None = None


class LimitsConfig(ModelServiceRequest):
    """Limits by device: `cpu`, `cuda` (every GPU) or `cuda:N`."""

    max_concurrent: dict[str, LimitsChange] = Field(min_length=1, max_length=64)


class ConfiguredLimits(TypedDict):
    """The limits of all devices after a change."""

    status: str
    message: str
    current_config: dict[str, DeviceLimits]


@router.get("", response_model=Envelope[ResourceUsage])
async def get_resources(api: Api) -> Response:
    """Get the running tasks, the limits of concurrent tasks, and the GPUs."""
    active = await visible_active_jobs(api)
    hosts = await api.limits.hosts()
    limits = await _limits(api, hosts)
    names = await api.records.client_task_ids.names()
    tasks: dict[str, list[ActiveTask]] = {device: [] for device in limits}
    for job in active:
        kind: Literal["training", "inference"] = "training" if job.kind == "training" else "inference"
        tasks.setdefault(job.device, []).append({"id": await _task_id(api, job, names), "type": kind})
    usage: ResourceUsage = {
        "device_usage": count_active_jobs(limits, active),
        "active_tasks": tasks,
        "limits": device_limits(limits),
        "gpu_info": gpu_summary(hosts, active),
    }
    return enveloped(usage)


@router.get("/gpu", response_model=Envelope[GpuSummary])
async def get_gpus(api: Api) -> Response:
    """Get the GPUs of all hosts; without any, `available` is false."""
    return enveloped(gpu_summary(await api.limits.hosts(), await visible_active_jobs(api)))


@router.post("/config", response_model=Envelope[ConfiguredLimits], dependencies=[ADMINS])
async def change_limits(config: LimitsConfig, api: Api) -> Response:
    """Change the limits of concurrent tasks for all hosts. Running tasks are not stopped."""
    hosts = await api.limits.hosts()
    devices = await _limits(api, hosts)
    for device in config.max_concurrent:
        if not _exists(device, devices):
            raise InvalidBody(
                f"No host has the device {device!r}.",
                hint=f"There are: {', '.join(sorted(devices))}.",
                details={"fields": ["max_concurrent"]},
            )
    changes = {
        device: change.model_dump(include={"training", "inference"}, exclude_none=True)
        for device, change in config.max_concurrent.items()
    }
    await api.limits.change({parse_device(device): change for device, change in changes.items()})
    content: ConfiguredLimits = {
        "status": "success",
        "message": CONFIGURED,
        "current_config": device_limits(await _limits(api, hosts)),
    }
    return enveloped(content)


def gpu_summary(hosts: list[HostInfo], active: list[ActiveJob]) -> GpuSummary:
    """Return the GPUs of some hosts with their running tasks."""
    devices: list[GpuDevice] = []
    for host in hosts:
        for gpu in host.gpus:
            here = [job for job in active if (job.host, job.device) == (gpu.host, gpu.device)]
            devices.append(
                {
                    "id": gpu.index,
                    "device_name": gpu.device,
                    "name": gpu.name,
                    "compute_capability": gpu.compute_capability,
                    "total_memory_gb": round(gpu.total_mb / MIB_PER_GIB, 2),
                    "allocated_memory_gb": round((gpu.total_mb - gpu.free_mb) / MIB_PER_GIB, 2),
                    "cached_memory_gb": 0.0,
                    "free_memory_gb": round(gpu.free_mb / MIB_PER_GIB, 2),
                    "utilization": gpu.utilization,
                    "current_tasks": {
                        "training": sum(job.kind == "training" for job in here),
                        "inference": sum(job.kind == "inference" for job in here),
                    },
                    "host": gpu.host,
                }
            )
    cuda_versions = [host.cuda_version for host in hosts if host.gpus and host.cuda_version]
    return {
        "available": bool(devices),
        "count": len(devices),
        "cuda_version": min(cuda_versions, default=None),
        "pytorch_version": pytorch_version(),
        "devices": devices,
    }


def pytorch_version() -> str:
    """Return the installed version of PyTorch, which the API itself never loads; empty where it is missing."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def device_limits(limits: Limits) -> dict[str, DeviceLimits]:
    """Return limits by device."""
    return {
        device: {"training": by_kind["training"], "inference": by_kind["inference"]}
        for device, by_kind in limits.items()
    }


async def _limits(api: ApiServices, hosts: list[HostInfo]) -> Limits:
    """Return the limits of the devices that there are: not of those that only a record names."""
    limits = await api.limits.limits()
    devices = {gpu.device for host in hosts for gpu in host.gpus}
    devices |= {worker.device for worker in await api.queue.workers() if worker.role in KINDS} | {CPU}
    return {
        device: limits.get(device)
        or limits.get(device.partition(":")[0])
        or {kind: default_limit(api.settings, device, kind) for kind in KINDS.values()}
        for device in sorted(devices)
    }


def _exists(device: str, devices: Limits) -> bool:
    constraint = parse_device(device)
    if constraint == GPU:
        return any(name.startswith(GPU) for name in devices)
    return constraint in devices


async def _task_id(api: ApiServices, job: ActiveJob, names: Mapping[str, str]) -> str:
    """Return the id of the task that a running job belongs to, as its client calls it."""
    record = await api.queue.job(job.job_id)
    task_id = (record.topic if record is not None else "") or job.job_id
    return names.get(task_id, task_id)
