"""Timing of training steps: how much of each is spent on waiting for its data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Timer:
    """Seconds spent on the steps so far."""

    data: float = 0.0
    """Reading, cropping, collating and moving batches to the device."""
    learning: float = 0.0
    """Forward, backward and update."""
    steps: int = 0

    @property
    def share(self) -> float:
        """Share of the time that was spent on data."""
        return self.data / max(self.data + self.learning, 1e-12)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Time the loading of a step's data."""
        start = time.perf_counter()
        yield
        self.data += time.perf_counter() - start

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time the computation of a step; it must include reading the losses, so that a GPU has finished."""
        start = time.perf_counter()
        yield
        self.learning += time.perf_counter() - start
        self.steps += 1
