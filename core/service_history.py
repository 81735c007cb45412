"""What the service was doing during the last hour: a sample every ten seconds, kept in Redis for all hosts together."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import orjson
from typing_extensions import TypedDict

from core.jobs.queue import AsyncQueue
from core.jobs.roles import WAITING_LISTS
from core.limits import LimitService
from core.records import iso
from core.redis import outage_as_queue_unavailable

INTERVAL_SECONDS: Final = 10.0
HISTORY_SECONDS: Final = 3600
MAX_SAMPLES: Final = round(HISTORY_SECONDS / INTERVAL_SECONDS)


class HostSample(TypedDict):
    """A host at one time."""

    memory_mb: int
    """That was available."""
    gpu_free_mb: int | None
    """On all its GPUs; null without one."""


class ServiceSample(TypedDict):
    """The service at one time."""

    at: str
    """ISO 8601."""
    waiting: dict[str, int]
    """Role → jobs in its queue."""
    running: dict[str, int]
    """Role → jobs that its workers hold."""
    workers: dict[str, int]
    """Role → workers."""
    dead_letters: int
    hosts: dict[str, HostSample]


class ServiceHistory:
    """Takes samples and returns those of the last hour."""

    def __init__(self, queue: AsyncQueue, limits: LimitService) -> None:
        self._queue = queue
        self._limits = limits
        self._execute: Callable[..., Any] = queue.transport.client.execute_command
        self._key = queue.key("service_history")

    async def sample(self) -> ServiceSample:
        """Return the service as it is now."""
        depths = await self._queue.depths()
        workers = await self._queue.workers()
        hosts = await self._limits.hosts()
        return {
            "at": iso(time.time()),
            "waiting": {role: depths[role] for role in WAITING_LISTS},
            "running": dict(Counter(worker.role for worker in workers if worker.job)),
            "workers": dict(Counter(worker.role for worker in workers)),
            "dead_letters": depths["dead"],
            "hosts": {
                host.host: {
                    "memory_mb": host.memory_mb,
                    "gpu_free_mb": sum(gpu.free_mb for gpu in host.gpus) if host.gpus else None,
                }
                for host in hosts
            },
        }

    async def record(self) -> None:
        """Keep a sample, unless another host's supervisor has just kept one."""
        with outage_as_queue_unavailable():
            turn = await self._execute("SET", f"{self._key}:turn", 1, "NX", "PX", round((INTERVAL_SECONDS - 1) * 1000))
        if not turn:
            return
        sample = orjson.dumps(await self.sample())
        with outage_as_queue_unavailable():
            await self._execute("LPUSH", self._key, sample)
            await self._execute("LTRIM", self._key, 0, MAX_SAMPLES - 1)
            await self._execute("EXPIRE", self._key, HISTORY_SECONDS)

    async def read(self) -> list[ServiceSample]:
        """Return the samples of the last hour, oldest first."""
        with outage_as_queue_unavailable():
            documents = await self._execute("LRANGE", self._key, 0, MAX_SAMPLES - 1)
        samples: list[ServiceSample] = [orjson.loads(document) for document in reversed(documents)]
        for sample in samples:
            if not isinstance(sample["at"], str):  # seconds: of an earlier version
                sample["at"] = iso(sample["at"])
        earliest = iso(time.time() - HISTORY_SECONDS)
        return [sample for sample in samples if sample["at"] > earliest]
