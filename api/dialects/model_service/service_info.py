"""Health and description of the service, which our own readers and those of the model service read on one path.

The fields stand at the top level, and in the envelope under `data`.
"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices
from api.dialects.model_service.envelope import in_envelope
from api.http.access import ANY_KEY
from api.http.responses import JsonResponse
from api.routes.health import Info, info_view
from api.services.health import Health, check_health
from common.package_version import package_version
from common.versions import VERSIONS
from core.errors import SovitsError
from core.limits import ActiveJob, HostInfo
from core.records import iso

router = APIRouter(tags=["Service"], dependencies=[ANY_KEY])

UNAVAILABLE = 503


class ResourceStatus(TypedDict):
    """Whether there are GPUs."""

    gpu_available: bool
    gpu_count: int


class ServiceHealth(Health):
    """Whether everything is available that a request needs, and what is running."""

    timestamp: str | None
    version: str
    training_tasks: int
    inference_tasks: int
    active_log_streams: int
    resource_status: ResourceStatus


class EnvelopedHealth(ServiceHealth):
    """The same at the top level and in an envelope."""

    code: int
    msg: str
    data: ServiceHealth


class ResourceLimits(TypedDict):
    """How many tasks run at once on each device."""

    max_training_concurrent_gpu: int
    max_inference_concurrent_gpu: int
    max_training_concurrent_cpu: int
    max_inference_concurrent_cpu: int


class ServiceInfo(Info):
    """The server's version, capabilities and limits."""

    app_name: str
    environment: Literal["development", "production"]
    supported_models: list[str]
    resource_limits: ResourceLimits
    gpu_available: bool


class EnvelopedInfo(ServiceInfo):
    """The same at the top level and in an envelope."""

    code: int
    msg: str
    data: ServiceInfo


@router.get("/health", response_model=EnvelopedHealth, responses={503: {"model": EnvelopedHealth}})
async def health(api: Api) -> Response:
    """Get the checks of /readyz, what is running, and whether there are GPUs; 503 when a check fails."""
    checked = await check_health(api.queue, api.records)
    healthy = checked["status"] == "ready"
    active, hosts = await _running(api)
    gpus = sum(len(host.gpus) for host in hosts)
    streams = sum(sample.value for metric in api.metrics.watchers.collect() for sample in metric.samples)
    content: ServiceHealth = {
        **checked,
        "status": "healthy" if healthy else "unhealthy",
        "timestamp": iso(api.experiments.clock()),
        "version": package_version(),
        "training_tasks": sum(job.kind == "training" for job in active),
        "inference_tasks": sum(job.kind == "inference" for job in active),
        "active_log_streams": int(streams),
        "resource_status": {"gpu_available": gpus > 0, "gpu_count": gpus},
    }
    if healthy:
        return JsonResponse({**content, **in_envelope(content)})
    problems = [check for check in checked["checks"].values() if check != "ok"]
    return JsonResponse({**content, **in_envelope(content, UNAVAILABLE, ". ".join(problems))}, UNAVAILABLE)


@router.get("/info", response_model=EnvelopedInfo)
async def info(api: Api) -> Response:
    """Get the server's version, the model versions, languages and audio formats that it supports, and its limits."""
    _, hosts = await _running(api)
    settings = api.settings
    content: ServiceInfo = {
        **await info_view(api),
        "app_name": settings.app_name,
        "environment": settings.environment,
        "supported_models": list(settings.supported_models or VERSIONS),
        "resource_limits": {
            "max_training_concurrent_gpu": settings.max_training_concurrent_gpu,
            "max_inference_concurrent_gpu": settings.max_inference_concurrent_gpu,
            "max_training_concurrent_cpu": settings.max_training_concurrent_cpu,
            "max_inference_concurrent_cpu": settings.max_inference_concurrent_cpu,
        },
        "gpu_available": any(host.gpus for host in hosts),
    }
    return JsonResponse({**content, **in_envelope(content)})


async def _running(api: ApiServices) -> tuple[list[ActiveJob], list[HostInfo]]:
    """Return the jobs that count towards limits, and the hosts; nothing while Redis is unavailable."""
    try:
        return await api.limits.active(), await api.limits.hosts()
    except SovitsError:
        return [], []
