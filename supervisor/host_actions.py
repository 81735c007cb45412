"""What a supervisor does for its host and for the whole installation: webhooks, limits, the host's description."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from common.official_weights import installed_weights
from common.operating_system import host_name
from core.jobs.queue import AsyncQueue
from core.limits import GpuInfo, HostInfo, LimitService
from core.memory import available_memory_mb
from core.records import Records
from core.service_history import ServiceHistory
from core.settings import Settings
from core.webhooks import WebhookSender, make_fetcher
from supervisor.devices import count_cores, find_cuda_version, find_gpus
from supervisor.maintenance import PeriodicAction

SEND_SECONDS = 1.0
LIMITS_SECONDS = 10.0
HOST_SECONDS = 10.0
SAMPLE_SECONDS = 10.0


class HostActions:
    """Send due webhooks, restore limits that Redis lost, and publish what this host has."""

    def __init__(self, settings: Settings, records: Records, queue: AsyncQueue) -> None:
        self.settings = settings
        self.records = records
        self.limits = LimitService(settings, records, queue)
        self.history = ServiceHistory(queue, self.limits)
        self.sender = WebhookSender(
            records, make_fetcher(settings), settings.secret_box, settings.webhook_secret.get_secret_value()
        )

    def periodic_actions(self) -> tuple[PeriodicAction, ...]:
        """Return the actions for `Maintenance`."""
        return (
            PeriodicAction("sending webhooks", SEND_SECONDS, self.sender.send_due),
            PeriodicAction("keeping limits", LIMITS_SECONDS, self.limits.restore),
            PeriodicAction("telling of this host", HOST_SECONDS, self.publish_host),
            PeriodicAction("sampling the service", SAMPLE_SECONDS, self.history.record),
        )

    async def settings_for_plan(self) -> Settings:
        """Return the settings with the number of concurrent trainings raised to what was allowed at run time."""
        limits = [(record.device, record.training or 0) for record in await self.records.limits.all()]
        trainings = {
            "max_training_concurrent_gpu": [number for device, number in limits if device.startswith("cuda")],
            "max_training_concurrent_cpu": [number for device, number in limits if device == "cpu"],
        }
        raised = {name: max([getattr(self.settings, name), *numbers]) for name, numbers in trainings.items()}
        return self.settings.model_copy(update=raised)

    async def publish_host(self) -> None:
        """Write this host's cores, memory, GPUs and official weights to Redis."""
        await self.limits.report_host(await asyncio.to_thread(describe_host, self.settings.models_folder))

    async def close(self) -> None:
        await self.sender.close()


def describe_host(models: Path) -> HostInfo:
    """Return this host's cores, free memory, GPUs and official weights as they are now."""
    host = host_name()
    gpus = [
        GpuInfo(
            host=host,
            index=gpu.index,
            device=gpu.name_for_jobs,
            name=gpu.name,
            uuid=gpu.uuid,
            total_mb=gpu.total_mb,
            free_mb=gpu.free_mb,
            compute_capability=gpu.compute_capability,
            utilization=gpu.utilization,
        )
        for gpu in find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
    ]
    weights = sorted(installed_weights(models))
    return HostInfo(host, count_cores(), available_memory_mb(), gpus, weights, find_cuda_version())
