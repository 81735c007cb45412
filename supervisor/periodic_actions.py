"""What a supervisor does to keep promises: sends webhooks, keeps limits in Redis, tells of its host."""

from __future__ import annotations

import asyncio
import os
from functools import partial

from core.jobs.limits import GpuInfo, HostInfo, LimitService
from core.jobs.queue import AsyncQueue
from core.records import Records
from core.settings import Settings
from core.webhooks import WebhookSender, make_fetcher
from supervisor.devices import Gpu, available_memory_mb, count_cores, find_gpus
from supervisor.maintenance import Chore

SEND_SECONDS = 1.0
LIMITS_SECONDS = 10.0
HOST_SECONDS = 10.0


class Promises:
    """One a supervisor."""

    def __init__(self, settings: Settings, records: Records, queue: AsyncQueue) -> None:
        self.settings = settings
        self.records = records
        self.limits = LimitService(settings, records, queue)
        self.sender = WebhookSender(records, make_fetcher(settings), settings.webhook_secret.get_secret_value())

    def chores(self) -> tuple[Chore, ...]:
        return (
            Chore("sending webhooks", SEND_SECONDS, self.sender.send_due),
            Chore("keeping limits", LIMITS_SECONDS, self.limits.restore),
            Chore("telling of this host", HOST_SECONDS, self.tell_host),
        )

    async def settings_for_plan(self) -> Settings:
        """The settings with as many trainings at once as someone allowed at run time, where that is more."""
        kept = [(record.device, record.training or 0) for record in await self.records.limits.all()]
        most = {
            "max_training_concurrent_gpu": [number for device, number in kept if device.startswith("cuda")],
            "max_training_concurrent_cpu": [number for device, number in kept if device == "cpu"],
        }
        raised = {name: max([getattr(self.settings, name), *numbers]) for name, numbers in most.items()}
        return self.settings.model_copy(update=raised)

    async def tell_host(self) -> None:
        await self.limits.tell_host(await asyncio.to_thread(describe_host))

    async def close(self) -> None:
        await self.sender.close()


def describe_host() -> HostInfo:
    """This host as it is now."""
    host = os.uname().nodename
    gpus = find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
    return HostInfo(host, count_cores(), available_memory_mb(), list(map(partial(_gpu_info, host), gpus)))


def _gpu_info(host: str, gpu: Gpu) -> GpuInfo:
    return GpuInfo(
        host=host,
        index=gpu.index,
        device=f"cuda:{gpu.index}",
        name=gpu.name,
        uuid=gpu.uuid,
        total_mb=gpu.total_mb,
        free_mb=gpu.free_mb,
    )
