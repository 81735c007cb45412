"""A training's control that stops it after a number of steps."""

from __future__ import annotations

import threading


class StopAfter(threading.Event):
    """Asks a training to stop once it has been asked that often."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0
