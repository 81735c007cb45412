"""Loading the data of the next step while the current one computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from typing import Generic, TypeVar

import torch
from torch import Tensor

GPU_WORKERS = 4
"""Threads that load the recordings of a batch for a GPU; on a CPU they would take cores from the network."""

Work = TypeVar("Work")
Loaded = TypeVar("Loaded")


class Prefetcher(Generic[Work, Loaded]):
    """A loader that works one call ahead, in a thread: reading and transforms release the interpreter lock.

    `load` must not draw from the global random generator, or a training would not be reproducible.
    """

    def __init__(self, load: Callable[[Work], Loaded]) -> None:
        self.load = load
        self._executor = ThreadPoolExecutor(1, "loader")
        self._pending: tuple[Work, Future[Loaded]] | None = None

    def __call__(self, work: Work, following: Work | None = None) -> Loaded:
        """Return the data of `work`, and begin to load those of `following`, the argument of the next call."""
        pending, self._pending = self._pending, None
        # A load that was begun is waited for even where it is not used: two at once would contend.
        prefetched = None if pending is None else (pending[0], pending[1].result())
        loaded = prefetched[1] if prefetched is not None and prefetched[0] is work else self.load(work)
        if following is not None:
            self._pending = following, self._executor.submit(self.load, following)
        return loaded


class ItemLoader(Generic[Work, Loaded]):
    """Loads several items, on a GPU several at a time; the results are in order in any case."""

    def __init__(self, load: Callable[[Work], Loaded], workers: int) -> None:
        self._load = load
        self._executor = ThreadPoolExecutor(workers, "worker") if workers > 1 else None

    def __call__(self, items: Iterable[Work]) -> list[Loaded]:
        """Load the items; the first that fails raises its error."""
        return list(map(self._load, items) if self._executor is None else self._executor.map(self._load, items))


def worker_count(device: torch.device) -> int:
    """Return how many threads load the items of a batch that is computed on a device."""
    return GPU_WORKERS if device.type == "cuda" else 1


def pin(batch: Loaded, device: torch.device) -> Loaded:
    """Return a batch, a dataclass of tensors, in memory that a GPU copies from while it computes."""
    if device.type != "cuda":
        return batch
    values = {entry.name: getattr(batch, entry.name) for entry in fields(batch)}  # type: ignore[arg-type]  # a dataclass
    return type(batch)(**{n: v.pin_memory() if isinstance(v, Tensor) else v for n, v in values.items()})
