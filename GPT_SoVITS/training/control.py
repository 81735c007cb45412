"""What may be asked of a training while it runs: to stop and go on later, or to end with the epoch that it is in."""

from __future__ import annotations

import threading


class TrainingControl(threading.Event):
    """Set, it asks for a stop after the present step, with the state saved. `after_epoch` asks for an early end."""

    def __init__(self) -> None:
        super().__init__()
        self.after_epoch = threading.Event()


def ends_early(stop: threading.Event) -> bool:
    """Whether the training is to end with the present epoch; what is no `Control` cannot ask for that."""
    return isinstance(stop, TrainingControl) and stop.after_epoch.is_set()
