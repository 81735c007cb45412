"""Every move a job can make, as a call to Redis: which script, with what, and how to read the answer.

`Queue` and `AsyncQueue` only send these calls, so both do the same. A call carries everything it needs, a fresh id or
nonce included, and is harmless when it is sent again because its answer was lost. On a Redis Cluster the prefix must
hold a hash tag (`{sovits}:`), because a script reaches its keys through the prefix.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import orjson

from core.errors import InvalidRequest, LeaseLost
from core.ids import new_id
from core.jobs.job import DEFAULT_PRIORITY, Beat, DeadLetter, Idle, Job, JobStatus, Lease, Place
from core.jobs.roles import WAITING_LISTS
from core.settings import Settings

Answer = TypeVar("Answer")

TOPIC_SECONDS: Final = 7 * 86_400
"""How long the history of a topic is kept after its last event."""
BATCH: Final = 100
"""Jobs that one call of the reaper or the promoter moves, so that neither holds the server up."""
UNCLAIMED_SECONDS: Final = 10.0
"""An id that was taken and not claimed for so long goes back: its worker died in between."""
OUTAGE_SECONDS: Final = 10.0
"""Without a reaper for so long, Redis was away; then workers get one more lease to come back in."""
SILENT_SECONDS: Final = 300.0
"""A worker that said nothing for so long is forgotten."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is asked for; the queue adds the rest."""

    role: str
    payload: dict[str, Any]
    job_id: str = ""
    """Empty takes a fresh one; an id that exists already adds nothing."""
    priority: int = DEFAULT_PRIORITY
    topic: str = ""
    idempotency_key: str = ""
    """Within 24 h the same key means the same job."""
    delay_seconds: float = 0.0
    keep_result_seconds: float | None = None
    """None keeps it as long as the queue keeps results."""
    after: Sequence[str] = ()
    """Jobs that have to end, well or not, before this one may begin; one that is unknown has ended."""
    impatient: bool = False
    """It begins at once when one of those failed or was cancelled."""
    device: str = ""
    """Where it must run: `cuda`, `cuda:N`, `cuda:N-M`, `cpu`; empty: anywhere."""


@dataclass(frozen=True, slots=True)
class Rescued:
    """A job taken back from a worker that died or vanished."""

    job_id: str
    role: str
    status: JobStatus
    """WAITING again, DEAD as poison, or CANCELLED when someone had asked for that."""
    topic: str


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker as operators see it."""

    id: str
    role: str
    host: str
    pid: int
    device: str
    since: float
    """Seconds since the epoch, by the queue's clock."""
    job: str
    """The id of the job that it holds; empty while it has none."""
    silent_seconds: float
    """Since it last told of itself."""


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script, with what all of them share in front."""

    source: str
    sha: str


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One round trip."""

    command: tuple[Any, ...]
    """As sent; of a script all that follows EVALSHA and the script's name."""
    parse: Callable[[Any], Answer]
    script: Script | None = None


@cache
def load_script(name: str) -> Script:
    """The script `core/jobs/lua/<name>.lua`."""
    folder = Path(__file__).with_name("lua")
    source = "\n".join((folder / f"{part}.lua").read_text() for part in ("common", name))
    return Script(source, hashlib.sha1(source.encode()).hexdigest())  # noqa: S324  # the server names scripts so


class Transitions:
    """Builds the calls of one queue."""

    def __init__(
        self,
        prefix: str = "sovits:",
        *,
        lease_seconds: float = 15.0,
        retry_attempts: int = 3,
        retry_delay_seconds: float = 5.0,
        result_ttl_seconds: float = 86_400,
    ) -> None:
        self.prefix = prefix
        self.lease_seconds = lease_seconds
        self.retry_attempts = retry_attempts
        self.retry_delay_seconds = retry_delay_seconds
        self.keep = math.ceil(result_ttl_seconds)

    @classmethod
    def from_settings(cls, settings: Settings) -> Transitions:
        return cls(
            settings.redis_prefix,
            lease_seconds=settings.lease_seconds,
            retry_attempts=settings.worker_retry_attempts,
            retry_delay_seconds=settings.worker_retry_delay_seconds,
            result_ttl_seconds=settings.result_expiry_seconds,
        )

    def key(self, name: str) -> str:
        return self.prefix + name

    def waiting_list(self, role: str, place: Place | None = None) -> str:
        return self.key(_list_of(role, place))

    def processing_list(self, worker_id: str) -> str:
        return self.key(f"processing:{worker_id}")

    def wake_channel(self, worker_id: str) -> str:
        """The id of a job is published here when its worker should stop it."""
        return self.key(f"wake:{worker_id}")

    # Jobs come in

    def enqueue(self, new: Sequence[NewJob]) -> Call[list[Job]]:
        """All of them or, when Redis refuses to write, none; InvalidRequest for a priority outside 1–10."""
        new = [job if job.job_id else _with_id(job) for job in new]
        arguments: list[Any] = []
        for job in new:
            if not 1 <= job.priority <= 10:
                raise InvalidRequest(f"The priority is {job.priority}; it goes from 1 (last) to 10 (first).")
            keep = "" if job.keep_result_seconds is None else math.ceil(job.keep_result_seconds)
            payload = orjson.dumps(job.payload)
            arguments += (job.job_id, job.role, _list_of(job.role), payload, int(job.priority))
            arguments += (job.topic, job.idempotency_key, job.delay_seconds, keep)
            arguments += (orjson.dumps(list(job.after)) if job.after else "", int(job.impatient), job.device)
        return self._script("enqueue", *arguments, parse=lambda answers: _enqueued(new, answers))

    # A worker's moves

    def claim(self, role: str, worker_id: str, place: Place | None = None) -> Call[Lease | Idle]:
        """What a lost answer or a blocking pop left with this worker, or else the next job of its role."""
        arguments: tuple[Any, ...] = (worker_id, _list_of(role, place), self.lease_seconds, self.keep)
        if place is not None:
            arguments += (place.device, place.kind, place.host, place.limit)
        return self._script("claim", *arguments, parse=lambda answer: _lease(worker_id, answer))

    def beat(self, lease: Lease) -> Call[Beat]:
        return self._script("beat", *_claim_of(lease), self.lease_seconds, parse=Beat)

    def progress(self, lease: Lease, event: Mapping[str, Any]) -> Call[Beat]:
        """Also a beat. `event` holds its data, and under `kind` what it is (progress, when nothing is said)."""
        data = {name: value for name, value in event.items() if name != "kind"}
        nonce = os.urandom(6).hex()
        told = (event.get("kind", "progress"), orjson.dumps(data), nonce, self.keep, TOPIC_SECONDS)
        return self._script("progress", *_claim_of(lease), self.lease_seconds, *told, parse=Beat)

    def ack(self, lease: Lease, result: Mapping[str, Any]) -> Call[bool]:
        return self._script("ack", *_claim_of(lease), orjson.dumps(result), self.keep, parse=bool)

    def fail(self, lease: Lease, error: Mapping[str, Any], *, permanent: bool) -> Call[JobStatus]:
        """Parsing raises LeaseLost when the job is another worker's by now."""
        arguments = (
            orjson.dumps(error),
            str(error.get("code", "")),
            str(error.get("message", "")),
            int(permanent),
            self.retry_attempts,
            self.retry_delay_seconds,
            random.uniform(0.5, 1.0),  # so that what failed together does not come back together
            self.keep,
        )
        return self._script("fail", *_claim_of(lease), *arguments, parse=lambda state: _failed(lease, state))

    def confirm_cancel(self, lease: Lease) -> Call[bool]:
        return self._script("confirm_cancel", *_claim_of(lease), self.keep, parse=bool)

    def release(self, lease: Lease) -> Call[bool]:
        return self._script("release", *_claim_of(lease), self.keep, parse=bool)

    def reconcile(self, worker_id: str, held: Sequence[str]) -> Call[int]:
        return self._script("reconcile", worker_id, self.keep, *held, parse=int)

    # What others do to a job

    def cancel(self, job_id: str) -> Call[JobStatus | None]:
        return self._script("cancel", job_id, self.keep, parse=lambda state: JobStatus(state) if state else None)

    def forget(self, job_id: str) -> Call[bool]:
        return self._script("forget", job_id, parse=bool)

    def rescue_worker(self, worker_id: str) -> Call[list[Rescued]]:
        return self._script("rescue_worker", worker_id, self.keep, parse=_rescued)

    def reap(self) -> Call[list[Rescued]]:
        arguments = (BATCH, self.lease_seconds, UNCLAIMED_SECONDS, OUTAGE_SECONDS, SILENT_SECONDS, self.keep)
        return self._script("reap", *arguments, parse=_rescued)

    def promote(self) -> Call[int]:
        return self._script("promote", BATCH, parse=int)

    def replay(self, job_id: str, cancelled: bool = False, after: Sequence[str] = ()) -> Call[bool]:
        return self._script("replay", job_id, int(cancelled), orjson.dumps(list(after)), parse=bool)

    def wait_also(self, job_id: str, others: Sequence[str]) -> Call[bool]:
        return self._script("await", job_id, orjson.dumps(list(others)), parse=bool)

    # Looking

    def jobs(self, kind: str, offset: int, limit: int) -> Call[tuple[list[Job], int]]:
        return self._script("list", kind, offset, limit, parse=_listed)

    def job(self, job_id: str) -> Call[Job | None]:
        return Call(("HGETALL", self.key(f"job:{job_id}")), lambda fields: parse_job(job_id, fields))

    def dead_letters(self, offset: int, limit: int) -> Call[list[DeadLetter]]:
        command = ("LRANGE", self.key("dead_letter_queue"), offset, offset + limit - 1)
        return Call(command, lambda letters: [_letter(letter) for letter in letters])

    def depths(self) -> Call[dict[str, int]]:
        names = (*WAITING_LISTS, "processing", "delayed", "dead")
        return self._script(
            "depths", *WAITING_LISTS.values(), parse=lambda counts: dict(zip(names, counts, strict=True))
        )

    def counters(self) -> Call[dict[str, int]]:
        return Call(("HGETALL", self.key("counters")), lambda found: {name: int(n) for name, n in found.items()})

    # Workers tell of themselves

    def register_worker(self, worker_id: str, role: str, host: str, pid: int, device: str) -> Call[bool]:
        return self._script("register_worker", worker_id, role, host, pid, device, parse=bool)

    def worker_beat(self, worker_id: str) -> Call[bool]:
        return self._script("worker_beat", worker_id, parse=bool)

    def forget_worker(self, worker_id: str) -> Call[bool]:
        # Its list is still watched for a while: a pop on its behalf may have been under way.
        return Call(("DEL", self.key(f"worker:{worker_id}")), bool)

    def workers(self) -> Call[list[WorkerInfo]]:
        return self._script("workers", parse=lambda found: [_worker(*one) for one in found])

    # Histories

    def publish(self, id_: str, kind: str, data: Mapping[str, Any]) -> Call[str]:
        return self._script("publish", id_, kind, orjson.dumps(data), TOPIC_SECONDS, parse=str)

    def _script(self, name: str, *arguments: Any, parse: Callable[[Any], Answer]) -> Call[Answer]:
        return Call((1, self.prefix, *arguments), parse, load_script(name))


def parse_job(job_id: str, fields: Mapping[str, str]) -> Job | None:
    """A job from its hash; None when there is none."""
    if not fields:
        return None
    return Job(
        id=job_id,
        role=fields["role"],
        payload=orjson.loads(fields["payload"]),
        status=JobStatus(fields["state"]),
        priority=int(fields["priority"]),
        attempts=int(fields.get("attempts", 0)),
        rescues=int(fields.get("rescues", 0)),
        device=fields.get("device", ""),
        topic=fields.get("topic", ""),
        token=int(fields.get("token", 0)),
        worker=fields.get("worker", ""),
        cancel_requested="cancel" in fields,
        awaits=int(fields.get("awaits", 0)),
        created_at=float(fields["created_at"]),
        started_at=float(fields.get("started_at", 0)),
        finished_at=float(fields.get("finished_at", 0)),
        error=orjson.loads(fields["error"]) if "error" in fields else None,
        result=orjson.loads(fields["result"]) if "result" in fields else None,
    )


def _listed(answer: Sequence[Any]) -> tuple[list[Job], int]:
    jobs = (parse_job(job_id, {"payload": "{}", **_pairs(flat)}) for job_id, flat in answer[1:])
    return [job for job in jobs if job is not None], int(answer[0])


def _list_of(role: str, place: Place | None = None) -> str:
    name = WAITING_LISTS.get(role) or f"{role}_tasks"
    return f"{name}@{place.device}" if place is not None and place.only_asked else name


def _with_id(new: NewJob) -> NewJob:
    return replace(new, job_id=new_id("job"))


def _claim_of(lease: Lease) -> tuple[str, int, str]:
    return lease.job.id, lease.token, lease.worker_id


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _known_job(job_id: str, flat: Sequence[str]) -> Job:
    job = parse_job(job_id, _pairs(flat))
    assert job is not None
    return job


def _enqueued(new: Sequence[NewJob], answers: Sequence[Any]) -> list[Job]:
    jobs = []
    for job, answer in zip(new, answers, strict=True):
        if isinstance(answer, str):
            held = job.after or job.delay_seconds > 0
            status = JobStatus.DELAYED if held else JobStatus.WAITING
            jobs.append(
                Job(
                    job.job_id,
                    job.role,
                    job.payload,
                    status,
                    job.priority,
                    device=job.device,
                    topic=job.topic,
                    awaits=len(job.after),
                    created_at=float(answer),
                )
            )
        else:
            jobs.append(_known_job(*answer))
    return jobs


def _lease(worker_id: str, answer: list[Any] | str | None) -> Lease | Idle:
    if not answer:
        return Idle.EMPTY
    if isinstance(answer, str):
        return Idle(answer)
    job_id, expires_at, fields = answer
    job = _known_job(job_id, fields)
    return Lease(job, worker_id, job.token, float(expires_at))


def _failed(lease: Lease, state: str) -> JobStatus:
    if state == "lost":
        raise LeaseLost(f"The job {lease.job.id} is not this worker's any more.")
    return JobStatus(state)


def _rescued(answers: Sequence[Sequence[str]]) -> list[Rescued]:
    return [Rescued(job_id, role, JobStatus(state), topic) for job_id, role, state, topic in answers]


def _letter(document: str) -> DeadLetter:
    return DeadLetter(**orjson.loads(document))


def _worker(worker_id: str, silent: str, job: str, flat: Sequence[str]) -> WorkerInfo:
    fields = _pairs(flat)
    return WorkerInfo(
        id=worker_id,
        role=fields["role"],
        host=fields["host"],
        pid=int(fields["pid"]),
        device=fields["device"],
        since=float(fields["since"]),
        job=job,
        silent_seconds=float(silent),
    )
