"""The records of the queue: jobs, leases, workers, dead letters and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from typing_extensions import TypedDict

from common.json_types import JsonObject
from core.errors import ErrorData


class JobStatus(StrEnum):
    """The lifecycle of a job: at any time it has exactly one of these."""

    WAITING = "waiting"
    PROCESSING = "processing"
    DELAYED = "delayed"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the job goes no further by itself (a dead one can be replayed)."""
        return self in (JobStatus.DONE, JobStatus.DEAD, JobStatus.CANCELLED)


DEFAULT_PRIORITY: Final = 5
"""Of 1 (last) to 10 (first)."""


class StreamPart(StrEnum):
    """Which part of a stream of audio a job speaks."""

    OPENING = "opening"
    """Nothing of the stream was heard before it."""
    CONTINUATION = "continuation"
    """Somebody hears what comes before it: a worker that drains still takes it."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to enqueue."""

    role: str
    payload: Mapping[str, object]
    """JSON for the role; every role has a model of it."""
    _: KW_ONLY
    job_id: str = ""
    """Empty: a new one. Of an id that exists already, the job that is there counts and nothing is added."""
    priority: int = DEFAULT_PRIORITY
    topic: str = ""
    """A second history that the job's events are added to, such as a task's id."""
    idempotency_key: str = ""
    """Within 24 h the same key means the same job."""
    delay_seconds: float = 0.0
    keep_result_seconds: float | None = None
    """None: as long as the queue keeps results."""
    depends_on: Sequence[str] = ()
    """Ids of jobs that must end, well or not, before this one starts; an unknown one counts as ended."""
    on_dependency_failure: Literal["wait", "start"] = "wait"
    """When a dependency fails or is cancelled: wait for the others all the same, or start at once."""
    device: str = ""
    """Device constraint: `cuda`, `cuda:N`, `cuda:N-M` or `cpu`; empty: any device."""
    owner: str = ""
    """For whom it runs; empty: the caller, who may be nobody in particular."""
    request_id: str = ""
    """Id of the HTTP request that created it; empty: the request that is handled now, or none."""
    characters: int = 0
    """Characters that it synthesizes, which count towards the caller's quota."""
    stream: StreamPart | None = None
    """Which part of a stream of audio it speaks: its chunks are published, and it keeps no history."""
    listener: str = ""
    """The process that listens to the stream: once that is gone, the job is cancelled instead of started."""
    affinity: str = ""
    """What a worker should have loaded for it, such as a voice's id; it prefers a worker that has."""
    part_of: str = ""
    """The job that its result is for: soon after that one is done or cancelled, this one is forgotten, and its history
    a minute after its own end."""


@dataclass(frozen=True, slots=True)
class Job:
    """One durable request for work. Times are seconds since the epoch by the clock of Redis; 0 means not yet."""

    id: str
    role: str
    payload: JsonObject
    status: JobStatus = JobStatus.WAITING
    priority: int = DEFAULT_PRIORITY
    attempts: int = 0
    """Runs that ended in an error; a rescue or a drain is not one."""
    rescues: int = 0
    """Times that a worker died or vanished with it."""
    device: str = ""
    """Device constraint: `cuda`, `cuda:N`, `cuda:N-M` or `cpu`; empty: any device."""
    owner: str = ""
    """For whom it runs; empty: nobody in particular, and everybody may see it."""
    request_id: str = ""
    """Id of the HTTP request that created it; empty without one."""
    topic: str = ""
    """A second history that the job's events are added to, such as a task's id."""
    stream: StreamPart | None = None
    """Which part of a stream of audio it speaks; None: it publishes no chunks."""
    token: int = 0
    """Fencing token of the newest lease."""
    worker: str = ""
    cancel_requested: bool = False
    pending_dependencies: int = 0
    """Jobs that must end before it starts; it is DELAYED until then."""
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    error: ErrorData | None = None
    """`{code, message, hint}` of the last failure."""
    result: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """One worker's claim on one job, void once `expires_at` has passed and the job was requeued."""

    job: Job
    worker_id: str
    token: int
    expires_at: float
    """Seconds since the epoch, by the clock of Redis."""


class ChunkStatus(StrEnum):
    """The reply to the publication of a chunk."""

    HELD = "held"
    CANCEL = "cancel"
    LOST = "lost"
    """As of a renewal; nothing was published in the last two cases."""
    FULL = "full"
    """The reader is behind: try again."""


class LeaseStatus(StrEnum):
    """The reply to the renewal of a lease."""

    HELD = "held"
    CANCEL = "cancel"
    """Still held, and the job should be stopped."""
    LOST = "lost"
    """Another worker has the job, or nobody has: stop."""


@dataclass(frozen=True, slots=True)
class WorkerLocation:
    """The host and the device of a worker, which decide what it may claim."""

    host: str
    device: str
    """`cpu` or `cuda:N`, as the driver numbers it."""
    kind: str = ""
    """The kind of jobs that is limited there, `training` or `inference`; empty: not limited."""
    limit: int = 1
    """Jobs of the kind that the device runs at once, unless the limit was changed at run time."""
    dedicated: bool = False
    """Claim only jobs whose constraint names this very device."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A registered worker."""

    id: str
    role: str
    host: str
    pid: int
    device: str
    since: float
    """Seconds since the epoch, by the clock of Redis."""
    job: str
    """The id of the job that it holds; empty while it has none."""
    silent_seconds: float
    """Time since its last heartbeat."""
    draining: bool = False
    """Whether it claims nothing new any more."""


@dataclass(frozen=True, slots=True)
class RescuedJob:
    """A job requeued after its worker died or vanished."""

    job_id: str
    role: str
    status: JobStatus
    """WAITING again, DEAD as poison, or CANCELLED when that had been requested."""
    topic: str


class FailureEntry(TypedDict):
    """One failure or rescue of a job, as its dead letter holds it."""

    at: float
    """Seconds since the epoch."""
    worker: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A permanently failed job with its last error; it can be replayed."""

    job_id: str
    role: str
    payload: JsonObject
    attempts: int
    rescues: int
    error: ErrorData
    died_at: float
    history: list[FailureEntry] = field(default_factory=list)
    """Oldest first."""
    owner: str = ""
    """Whose the job is; empty: shared."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the history of a job or a topic."""

    id: str
    """Milliseconds and a counter, by the clock of Redis: later ones sort later."""
    kind: str
    data: dict[str, Any]


TERMINAL_EVENTS: Final = frozenset({"completed", "failed", "cancelled"})
"""Kinds of events after which nothing follows, unless a dead letter is replayed."""
