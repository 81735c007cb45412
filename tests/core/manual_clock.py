"""A clock that tests move by hand."""

from __future__ import annotations

import time


class ManualClock:
    """Seconds since the epoch."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now
