"""A job, a claim on it, and what is left of it when it died."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.errors import ErrorData


class JobStatus(StrEnum):
    """Where a job is; every job is in exactly one of these at any time."""

    WAITING = "waiting"
    PROCESSING = "processing"
    DELAYED = "delayed"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the job moves no further by itself (a dead one can be replayed)."""
        return self in (JobStatus.DONE, JobStatus.DEAD, JobStatus.CANCELLED)


DEFAULT_PRIORITY = 5
"""Of 1 (last) to 10 (first)."""


@dataclass(frozen=True, slots=True)
class Job:
    """One durable request for work."""

    id: str
    role: str
    payload: dict[str, Any]
    status: JobStatus = JobStatus.WAITING
    priority: int = DEFAULT_PRIORITY
    attempts: int = 0
    """Runs that ended in an error; a rescue or a drain is not one."""
    rescues: int = 0
    """Times a worker died or vanished with it."""
    device: str = ""
    """Where it must run: `cuda`, `cuda:N`, `cuda:N-M`, `cpu`; empty: anywhere."""
    topic: str = ""
    """Where its progress is also told, beside its own channel: a task's id, for example."""
    token: int = 0
    """Fencing token of the newest claim."""
    worker: str = ""
    cancel_requested: bool = False
    awaits: int = 0
    """Jobs that have to end before it may begin; it is DELAYED until then."""
    created_at: float = 0.0
    """Times are seconds since the epoch by the clock of Redis; 0 means not yet."""
    started_at: float = 0.0
    finished_at: float = 0.0
    error: ErrorData | None = None
    """`{code, message, hint}` of the last failure."""
    result: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """One worker's claim on one job, void once `expires_at` has passed and the job was taken back."""

    job: Job
    worker_id: str
    token: int
    expires_at: float
    """Seconds since the epoch, by the queue's clock."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker is, which decides what it may claim."""

    host: str
    device: str
    """`cpu` or `cuda:N`, as the driver numbers it."""
    kind: str = ""
    """`training` or `inference`: what limits count; empty: not limited."""
    limit: int = 1
    """Jobs of the kind that the device runs at once, unless someone changed that at run time."""
    only_asked: bool = False
    """Take only jobs that ask for this very device."""


class Idle(StrEnum):
    """Why a claim brought no job."""

    EMPTY = "empty"
    FULL = "full"
    """The device runs as many jobs of the kind as it may."""


class Beat(StrEnum):
    """What a worker learns when it renews its lease."""

    HELD = "held"
    CANCEL = "cancel"
    """Still held, and someone wants the job stopped."""
    LOST = "lost"
    """Another worker has the job, or nobody has: stop."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job out of attempts, with its last error; replayable."""

    job_id: str
    role: str
    payload: dict[str, Any]
    attempts: int
    rescues: int
    error: ErrorData
    died_at: float
    history: list[dict[str, Any]] = field(default_factory=list)
    """Every failure and rescue: `{at, worker, code, message}`, oldest first."""
