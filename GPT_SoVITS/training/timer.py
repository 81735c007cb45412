"""Where a training's seconds go: how much of a step is spent on waiting for its data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Timer:
    """Seconds of the steps so far; `share` is what a benchmark prints."""

    data: float = 0.0
    """Reading, cropping, collating and moving batches to the device."""
    learning: float = 0.0
    """Forward, backward and update."""
    steps: int = 0

    @property
    def share(self) -> float:
        """The part of all the time that went into data."""
        return self.data / max(self.data + self.learning, 1e-12)

    @contextmanager
    def loading(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.data += time.perf_counter() - start

    @contextmanager
    def step(self) -> Iterator[None]:
        """Holds a step's losses until they are numbers, so that a GPU's work is counted, too."""
        start = time.perf_counter()
        yield
        self.learning += time.perf_counter() - start
        self.steps += 1
