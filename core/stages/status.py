"""The status of a stage run."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class StageStatus(StrEnum):
    """Where the newest run of a stage is."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Was running; its worker is gone and another one will go on."""
    PAUSED = "paused"
    COMPLETED = "completed"
    STALE = "stale"
    """Completed, but from inputs that were made anew since."""
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def active(self) -> bool:
        """Whether a job for it is (or should be) in the queue."""
        return self in ACTIVE_STATUSES


ACTIVE_STATUSES: Final = (StageStatus.QUEUED, StageStatus.RUNNING, StageStatus.INTERRUPTED)
