"""Requests to a running training: to stop and be resumed later, or to end with its current epoch."""

from __future__ import annotations

import threading


class TrainingControl(threading.Event):
    """A stop request: when set, the training saves its state after the current step and stops.

    `after_epoch` requests an early end instead: the current epoch becomes the last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.after_epoch = threading.Event()


def ends_early(stop: threading.Event) -> bool:
    """Return whether the training should end with the current epoch; only a `TrainingControl` can request that."""
    return isinstance(stop, TrainingControl) and stop.after_epoch.is_set()
