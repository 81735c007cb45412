"""How many jobs run at once: the limits of each device, the jobs that count against them, and the hosts' hardware."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import orjson

from core.errors import InvalidParameter
from core.jobs.devices import parse_device
from core.jobs.job import WorkerInfo
from core.jobs.placement import KINDS, default_limit
from core.jobs.queue import AsyncQueue
from core.records import LimitRecord, Records
from core.redis import outage_as_queue_unavailable
from core.settings import Settings

logger = logging.getLogger(__name__)

MAX_LIMIT: Final = 64
_CHANGED_AT: Final = "changed at"
"""Field beside the limits in Redis: an old copy of them must not take the place of a newer one."""
HOST_SECONDS: Final = 60
"""A host that reported nothing for so long is not shown any more."""

Limits = dict[str, dict[str, int]]
"""Device → kind → jobs at once."""


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """A GPU as its host's supervisor last saw it."""

    host: str
    index: int
    device: str
    """`cuda:N`, or `mps`."""
    name: str
    uuid: str
    total_mb: int
    free_mb: int
    compute_capability: str = ""
    """Such as 8.6."""
    utilization: float = 0.0
    """Per cent of the last moments in which it computed."""


@dataclass(frozen=True, slots=True)
class HostInfo:
    """The hardware of a host."""

    host: str
    cores: int
    memory_mb: int
    """That is available now."""
    gpus: list[GpuInfo]
    weights: list[str] = field(default_factory=list)
    """The official weights that are complete in its folder of models (common/official_weights.py)."""
    cuda_version: str = ""
    """That its driver supports; empty without a driver."""

    @classmethod
    def from_json(cls, document: bytes | str) -> Self:
        """Return a host from the JSON of its fields."""
        fields = orjson.loads(document)
        return cls(**{**fields, "gpus": [GpuInfo(**gpu) for gpu in fields["gpus"]]})


@dataclass(frozen=True, slots=True)
class ActiveJob:
    """A job that counts against a limit."""

    job_id: str
    kind: str
    host: str
    device: str
    worker: str


class LimitService:
    """The limits of all hosts: SQL keeps them, Redis has a copy where the claims look."""

    def __init__(self, settings: Settings, records: Records, queue: AsyncQueue) -> None:
        self.settings = settings
        self.records = records
        self.queue = queue
        self._redis = queue.transport.client
        self._execute: Callable[..., Any] = self._redis.execute_command

    async def change(self, changes: Mapping[str, Mapping[str, int | None]]) -> Limits:
        """Change limits, by device and kind (None returns to the settings), and return all of them.

        Devices: `cpu`, `cuda` (each GPU without a limit of its own) and `cuda:N`, on every host. Running jobs go on.
        """
        for device, values in changes.items():
            if parse_device(device) != device or not device:
                raise InvalidParameter(f"There is no device {device!r}.", hint="cpu, cuda and cuda:N have limits.")
            for kind, number in values.items():
                if kind not in KINDS.values():
                    raise InvalidParameter(
                        f"There is no limit {kind!r} of {device}.", hint=f"Limits: {', '.join(KINDS.values())}."
                    )
                if number is not None and not 0 <= number <= MAX_LIMIT:
                    raise InvalidParameter(f"{device}.{kind} is {number}; it may be 0 (nothing begins) to {MAX_LIMIT}.")
        records = await self.records.limits.update(changes)
        await self._write(records)
        logger.info("Limits changed: %s.", orjson.dumps(changes).decode())
        return self._effective(records, await self.queue.workers())

    async def limits(self) -> Limits:
        """Return the limits of every device that a record names or a worker runs on."""
        return self._effective(await self.records.limits.all(), await self.queue.workers())

    async def restore(self) -> None:
        """Copy the limits from SQL to Redis, unless they are there: Redis may have lost or never had them."""
        records = await self.records.limits.all()
        with outage_as_queue_unavailable():
            changed_at = float(await self._execute("HGET", self.queue.key("limits"), _CHANGED_AT) or 0.0)
        if changed_at < _last_change(records):
            await self._write(records)

    async def active(self) -> list[ActiveJob]:
        """Return the jobs that count against limits now, on all hosts."""
        return [
            ActiveJob(worker.job, KINDS[worker.role], worker.host, worker.device, worker.id)
            for worker in await self.queue.workers()
            if worker.job and worker.role in KINDS
        ]

    async def report_host(self, host: HostInfo) -> None:
        """Publish the hardware of a host; its supervisor repeats this before it expires."""
        key = self.queue.key(f"host:{host.host}")
        with outage_as_queue_unavailable():
            await self._execute("SET", key, orjson.dumps(asdict(host)), "EX", HOST_SECONDS)
            await self._execute("SADD", self.queue.key("hosts"), host.host)

    async def hosts(self) -> list[HostInfo]:
        """Return the hosts that reported within the last minute."""
        with outage_as_queue_unavailable():
            names = sorted(await self._execute("SMEMBERS", self.queue.key("hosts")))
            keys = [self.queue.key(f"host:{name}") for name in names]
            documents = await self._execute("MGET", *keys) if keys else []
        return [HostInfo.from_json(document) for document in documents if document]

    async def _write(self, records: Sequence[LimitRecord]) -> None:
        key = self.queue.key("limits")
        with outage_as_queue_unavailable():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(key)
                for record in records:
                    for kind in KINDS.values():
                        if (number := getattr(record, kind)) is not None:
                            pipe.hset(key, f"{kind} {record.device}", number)
                pipe.hset(key, _CHANGED_AT, str(_last_change(records)))
                await pipe.execute()

    def _effective(self, records: Sequence[LimitRecord], workers: Sequence[WorkerInfo]) -> Limits:
        """Return what counts: the limit of a device, else of its kind of device, else of the settings."""
        by_device = {record.device: record for record in records}
        devices = {"cpu"} | by_device.keys() | {worker.device for worker in workers if worker.role in KINDS}
        limits: Limits = {}
        for device in sorted(devices):
            limits[device] = {}
            for kind in KINDS.values():
                numbers = (getattr(by_device.get(name), kind, None) for name in (device, device.partition(":")[0]))
                number = next((number for number in numbers if number is not None), None)
                limits[device][kind] = default_limit(self.settings, device, kind) if number is None else number
        return limits


def _last_change(records: Sequence[LimitRecord]) -> float:
    return max((record.updated_at for record in records), default=0.0)
