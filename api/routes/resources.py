"""Resources: what runs where, how much may run at once, and the GPUs of all hosts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dependencies import Api
from api.http.responses import Json
from core.jobs.placement import KINDS
from core.limits import MAX_LIMIT, ActiveJob, GpuInfo

router = APIRouter(prefix="/resources", tags=["Resources"])


class DeviceLimits(TypedDict):
    """Jobs at once."""

    training: int
    inference: int


class ActiveView(TypedDict):
    """A job that counts against a limit."""

    job_id: str
    kind: str
    host: str
    device: str
    worker: str


class GpuView(TypedDict):
    """A GPU as its host last told of it."""

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


class ResourcesView(TypedDict):
    """What runs where."""

    device_usage: dict[str, DeviceLimits]
    active_tasks: list[ActiveView]
    limits: dict[str, DeviceLimits]
    gpu_info: list[GpuView]
    hosts: list[HostView]


class GpuPage(TypedDict):
    gpus: list[GpuView]


class LimitsView(TypedDict):
    max_concurrent: dict[str, DeviceLimits]


Number = Annotated[int | None, Field(ge=0, le=MAX_LIMIT, description="null returns to the settings.")]


class NewLimits(BaseModel):
    """What is not named stays as it is."""

    model_config = ConfigDict(extra="forbid")

    training: Number = None
    inference: Number = None


class ResourcesConfig(BaseModel):
    """Limits by device: `cpu`, `cuda` (each GPU without a limit of its own), `cuda:N`; on every host."""

    model_config = ConfigDict(extra="forbid")

    max_concurrent: dict[str, NewLimits] = Field(min_length=1, max_length=64)


@router.get("", response_model=ResourcesView)
async def get_resources(api: Api) -> Response:
    """What runs where, and how much may."""
    active = await api.limits.active()
    hosts = await api.limits.hosts()
    limits = await api.limits.limits()
    return Json(
        {
            "device_usage": usage(limits, active),
            "active_tasks": [asdict(one) for one in active],
            "limits": limits,
            "gpu_info": [asdict(gpu) for host in hosts for gpu in host.gpus],
            "hosts": [
                {"host": host.host, "cores": host.cores, "memory_mb": host.memory_mb, "gpus": len(host.gpus)}
                for host in hosts
            ],
        }
    )


@router.get("/gpu", response_model=GpuPage)
async def get_gpus(api: Api) -> Response:
    """The GPUs of all hosts that told of themselves within the last minute."""
    gpus: list[GpuInfo] = [gpu for host in await api.limits.hosts() for gpu in host.gpus]
    return Json({"gpus": [asdict(gpu) for gpu in gpus]})


@router.post("/config", response_model=LimitsView)
async def change_limits(config: ResourcesConfig, api: Api) -> Response:
    """Change how much may run at once, at once and for all hosts; what runs already goes on."""
    wanted = {device: values.model_dump(exclude_unset=True) for device, values in config.max_concurrent.items()}
    return Json({"max_concurrent": await api.limits.change(wanted)})


def usage(limits: dict[str, dict[str, int]], active: list[ActiveJob]) -> dict[str, dict[str, int]]:
    """Device → kind → jobs that run there now, on all hosts together."""
    counted = {device: dict.fromkeys(KINDS.values(), 0) for device in limits}
    for one in active:
        counted.setdefault(one.device, dict.fromkeys(KINDS.values(), 0))[one.kind] += 1
    return counted
