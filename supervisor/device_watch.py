"""Which GPUs a host has while it runs: one may be lost, return, or be added."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from supervisor.gpu import Gpu


class DeviceWatch:
    """Reads the devices again and again. A change counts when two readings in a row agree: a driver may be busy."""

    def __init__(self, read: Callable[[], tuple[Gpu, ...]], gpus: tuple[Gpu, ...]) -> None:
        """`gpus` are those of the first reading."""
        self.gpus = gpus
        """Those that are there, each with the memory that was free before workers of this host used it."""
        self.lost: tuple[Gpu, ...] = ()
        """Those that the last change took away."""
        self.added: tuple[Gpu, ...] = ()
        """Those that the last change brought."""
        self._read = read
        self._last_read = _names(gpus)

    async def changed(self) -> bool:
        """Read the devices; return whether there are others than before, with `gpus`, `lost` and `added` up to date."""
        gpus = await asyncio.to_thread(self._read)
        before, self._last_read = self._last_read, _names(gpus)
        if self._last_read != before or self._last_read == _names(self.gpus):
            return False
        present = {gpu.uuid: gpu for gpu in self.gpus}
        self.lost = tuple(gpu for gpu in self.gpus if gpu.uuid not in self._last_read)
        self.added = tuple(gpu for gpu in gpus if gpu.uuid not in present)
        self.gpus = tuple(present.get(gpu.uuid, gpu) for gpu in gpus)
        return True


def _names(gpus: tuple[Gpu, ...]) -> frozenset[str]:
    return frozenset(gpu.uuid for gpu in gpus)
