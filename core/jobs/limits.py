"""How much runs at once: the limits of each device, what runs there now, and how the hosts are made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from core.errors import InvalidParameter
from core.jobs.devices import parse_device
from core.jobs.placement import KINDS, default_limit
from core.jobs.queue import AsyncQueue, unavailable
from core.jobs.queue_commands import WorkerInfo
from core.records import LimitRecord, Records
from core.settings import Settings

logger = logging.getLogger(__name__)

MOST: Final = 64
_AT: Final = "changed at"
"""Beside the limits in Redis: an old copy of them must not take the place of a newer one."""
HOST_SECONDS: Final = 60
"""A host that said nothing for so long is not shown any more."""


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """A GPU as its host's supervisor last saw it."""

    host: str
    index: int
    device: str
    """`cuda:N`."""
    name: str
    uuid: str
    total_mb: int
    free_mb: int


@dataclass(frozen=True, slots=True)
class HostInfo:
    """What a supervisor tells of its host."""

    host: str
    cores: int
    memory_mb: int
    """That can be taken now."""
    gpus: list[GpuInfo]


@dataclass(frozen=True, slots=True)
class ActiveJob:
    """A job that counts against a limit."""

    job_id: str
    kind: str
    host: str
    device: str
    worker: str


class LimitService:
    """Changes limits for all hosts: SQL keeps them, Redis has them where the claims look."""

    def __init__(self, settings: Settings, records: Records, queue: AsyncQueue) -> None:
        self.settings = settings
        self.records = records
        self.queue = queue
        self._execute: Callable[..., Any] = queue.redis.execute_command

    async def change(self, wanted: Mapping[str, Mapping[str, int | None]]) -> dict[str, dict[str, int]]:
        """Device → kind → number at once; None returns to the settings. All limits then.

        Devices: `cpu`, `cuda` (each GPU without one of its own) and `cuda:N`, on every host. Running jobs go on.
        """
        for device, values in wanted.items():
            if parse_device(device) != device or not device:
                raise InvalidParameter(f"There is no device {device!r}.", hint="cpu, cuda and cuda:N have limits.")
            for kind, number in values.items():
                _check(device, kind, number)
        changed = await self.records.limits.update(wanted)
        await self._write(changed)
        logger.info("Limits changed: %s.", orjson.dumps(wanted).decode())
        return self._effective(changed, await self.queue.workers())

    async def limits(self) -> dict[str, dict[str, int]]:
        """Device → kind → number, of every device that a limit names or a worker runs on."""
        return self._effective(await self.records.limits.all(), await self.queue.workers())

    async def restore(self) -> None:
        """Write what SQL keeps to Redis, unless it is there: Redis may have lost it, or never have heard of it."""
        kept = await self.records.limits.all()
        with unavailable():
            known = float(await self._execute("HGET", self._key("limits"), _AT) or 0.0)
        if known < _changed_at(kept):
            await self._write(kept)

    async def active(self) -> list[ActiveJob]:
        """What counts against limits now, on all hosts."""
        return [
            ActiveJob(worker.job, KINDS[worker.role], worker.host, worker.device, worker.id)
            for worker in await self.queue.workers()
            if worker.job and worker.role in KINDS
        ]

    async def tell_host(self, host: HostInfo) -> None:
        """A supervisor tells of its host; it does so again and again."""
        with unavailable():
            await self._execute("SET", self._key(f"host:{host.host}"), orjson.dumps(asdict(host)), "EX", HOST_SECONDS)
            await self._execute("SADD", self._key("hosts"), host.host)

    async def hosts(self) -> list[HostInfo]:
        """Those that told of themselves within the last minute."""
        with unavailable():
            names = sorted(await self._execute("SMEMBERS", self._key("hosts")))
            told = await self._execute("MGET", *(self._key(f"host:{name}") for name in names)) if names else []
        return [_host(orjson.loads(one)) for one in told if one]

    async def _write(self, kept: Sequence[LimitRecord]) -> None:
        key = self._key("limits")
        with unavailable():
            async with self.queue.redis.pipeline(transaction=True) as pipe:
                pipe.delete(key)
                for record in kept:
                    for kind in KINDS.values():
                        if (number := getattr(record, kind)) is not None:
                            pipe.hset(key, f"{kind} {record.device}", number)
                pipe.hset(key, _AT, str(_changed_at(kept)))
                await pipe.execute()

    def _effective(self, kept: Sequence[LimitRecord], workers: Sequence[WorkerInfo]) -> dict[str, dict[str, int]]:
        by_device = {record.device: record for record in kept}
        devices = {"cpu"} | by_device.keys() | {worker.device for worker in workers if worker.role in KINDS}
        return {
            device: {kind: self._limit(by_device, device, kind) for kind in KINDS.values()}
            for device in sorted(devices)
        }

    def _limit(self, kept: Mapping[str, LimitRecord], device: str, kind: str) -> int:
        for name in (device, device.partition(":")[0]):
            number: int | None = getattr(kept.get(name), kind, None)
            if number is not None:
                return number
        return default_limit(self.settings, device, kind)

    def _key(self, name: str) -> str:
        return self.queue.transitions.key(name)


def _changed_at(kept: Sequence[LimitRecord]) -> float:
    return max((record.updated_at for record in kept), default=0.0)


def _check(device: str, kind: str, number: int | None) -> None:
    if kind not in KINDS.values():
        raise InvalidParameter(f"There is no limit {kind!r} of {device}.", hint=f"Limits: {', '.join(KINDS.values())}.")
    if number is not None and not 0 <= number <= MOST:
        raise InvalidParameter(f"{device}.{kind} is {number}; it may be 0 (nothing begins) to {MOST}.")


def _host(told: dict[str, Any]) -> HostInfo:
    return HostInfo(**{**told, "gpus": [GpuInfo(**gpu) for gpu in told["gpus"]]})
