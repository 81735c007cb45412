"""Every transition of a job as a call of one Lua script: built here once, run by the sync and the async queue alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import orjson

from core.errors import InvalidRequest, LeaseLost
from core.ids import new_id
from core.job import DEFAULT_PRIORITY, Beat, DeadLetter, Job, JobStatus, Lease
from core.roles import WAITING_LISTS

Result = TypeVar("Result")

POISON_RESCUES: Final = 3
"""Workers that a job may take down before it is poison …"""
POISON_WINDOW_SECONDS: Final = 72 * 3600.0
"""… within this time."""
UNCLAIMED_SECONDS: Final = 10.0
"""How long an id may lie in a processing list without a claim."""

_LUA: Final = Path(__file__).parent / "lua"


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to enqueue. An id that is known already enqueues nothing."""

    role: str
    payload: dict[str, Any]
    job_id: str = ""
    priority: int = DEFAULT_PRIORITY
    topic: str = ""
    idempotency_key: str = ""
    delay_seconds: float = 0.0
    keep_result_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Rescued:
    """A job that was taken from a worker: it waits again, or it is dead or cancelled."""

    job_id: str
    role: str
    status: JobStatus
    topic: str


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker as it last told of itself."""

    id: str
    role: str
    host: str
    pid: int
    device: str
    job: str
    """The id of the job it runs; empty when it is idle."""
    since: float
    beat_at: float


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One run of one script."""

    script: str
    arguments: list[str | bytes]
    parse: Callable[[Any], Result] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Transitions:
    """Builds the calls; the numbers are the queue's settings."""

    prefix: str = "sovits:"
    lease_seconds: float = 15.0
    retry_attempts: int = 3
    retry_delay_seconds: float = 5.0
    result_ttl_seconds: float = 86_400.0

    def key(self, name: str) -> str:
        return self.prefix + name

    def enqueue(self, new: NewJob) -> Call[str]:
        if not 1 <= new.priority <= 10:
            raise InvalidRequest(f"The priority is {new.priority}; it may be 1 (last) to 10 (first).")
        keep = self.result_ttl_seconds if new.keep_result_seconds is None else new.keep_result_seconds
        return Call(
            "enqueue",
            [
                new.job_id or new_id("job"),
                new.role,
                WAITING_LISTS[new.role],
                orjson.dumps(new.payload),
                str(new.priority),
                new.topic,
                new.idempotency_key,
                repr(new.delay_seconds),
                str(int(keep)),
            ],
            _text,
        )

    def claim(self, role: str, worker_id: str, popped: str = "") -> Call[Lease | None]:
        return Call(
            "claim",
            [worker_id, WAITING_LISTS[role], repr(self.lease_seconds), popped],
            lambda reply: parse_lease(reply, worker_id),
        )

    def beat(self, lease: Lease) -> Call[Beat]:
        return Call("beat", [*self._lease(lease), repr(self.lease_seconds)], lambda reply: Beat(_text(reply)))

    def progress(self, lease: Lease, event: dict[str, Any]) -> Call[Beat]:
        data = dict(event)
        kind = str(data.pop("kind", "progress"))
        arguments = [*self._lease(lease), repr(self.lease_seconds), kind, orjson.dumps(data)]
        return Call("progress", arguments, lambda reply: Beat(_text(reply)))

    def ack(self, lease: Lease, result: dict[str, Any]) -> Call[bool]:
        return Call("ack", [*self._lease(lease), orjson.dumps(result)], bool)

    def fail(self, lease: Lease, error: dict[str, Any], *, permanent: bool) -> Call[JobStatus]:
        arguments = [
            *self._lease(lease),
            orjson.dumps(error),
            "1" if permanent else "0",
            str(self.retry_attempts),
            repr(self.retry_delay_seconds),
            repr(random.uniform(0.5, 1.0)),
        ]
        return Call("fail", arguments, lambda reply: _failed(reply, lease))

    def confirm_cancel(self, lease: Lease) -> Call[bool]:
        return Call("confirm_cancel", self._lease(lease), bool)

    def release(self, lease: Lease) -> Call[bool]:
        return Call("release", self._lease(lease), bool)

    def cancel(self, job_id: str) -> Call[JobStatus | None]:
        return Call("cancel", [job_id], lambda reply: JobStatus(_text(reply)) if reply else None)

    def rescue_worker(self, worker_id: str, reason: str) -> Call[list[Rescued]]:
        return Call(
            "rescue_worker", [worker_id, reason, str(POISON_RESCUES), repr(POISON_WINDOW_SECONDS)], _rescued
        )

    def reap(self, unclaimed_seconds: float) -> Call[list[Rescued]]:
        return Call(
            "reap", [str(POISON_RESCUES), repr(POISON_WINDOW_SECONDS), repr(unclaimed_seconds)], _rescued
        )

    def reconcile(self, worker_id: str, held: Sequence[str]) -> Call[int]:
        return Call("reconcile", [worker_id, *held], int)

    def promote(self) -> Call[int]:
        return Call("promote", [], int)

    def replay(self, job_id: str) -> Call[bool]:
        return Call("replay", [job_id], bool)

    @staticmethod
    def _lease(lease: Lease) -> list[str | bytes]:
        return [lease.job.id, str(lease.token), lease.worker_id]


@lru_cache(maxsize=32)
def script_source(name: str) -> str:
    """The script with what every script shares before it."""
    return (_LUA / "common.lua").read_text() + "\n" + (_LUA / f"{name}.lua").read_text()


def parse_job(fields: dict[str, str]) -> Job:
    """A job from the strings of its hash."""
    return Job(
        id=fields["id"],
        role=fields["role"],
        payload=orjson.loads(fields["payload"]),
        status=JobStatus(fields["status"]),
        priority=int(fields["priority"]),
        attempts=int(fields["attempts"]),
        rescues=int(fields["rescues"]),
        topic=fields["topic"],
        token=int(fields["token"]),
        worker=fields["worker"],
        cancel_requested=fields["cancel_requested"] == "1",
        created_at=float(fields["created_at"]),
        started_at=float(fields["started_at"]),
        finished_at=float(fields["finished_at"]),
        error=orjson.loads(fields["error"]) if fields.get("error") else None,
        result=orjson.loads(fields["result"]) if fields.get("result") else None,
    )


def parse_lease(reply: Any, worker_id: str) -> Lease | None:
    """`[token, expires, [field, value, …]]`, or nothing."""
    if not reply:
        return None
    token, expires, flat = reply
    fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    return Lease(parse_job(fields), worker_id, int(token), float(expires))


def parse_letter(document: str) -> DeadLetter:
    """A dead letter from its JSON document."""
    letter = orjson.loads(document)
    return DeadLetter(
        job_id=letter["job_id"],
        role=letter["role"],
        payload=letter["payload"],
        attempts=letter["attempts"],
        rescues=letter["rescues"],
        error=letter["error"],
        died_at=letter["died_at"],
        history=letter["history"],
    )


def parse_worker(worker_id: str, fields: dict[str, str], beat_at: float) -> WorkerInfo:
    """A worker from the strings of its hash."""
    return WorkerInfo(
        id=worker_id,
        role=fields.get("role", ""),
        host=fields.get("host", ""),
        pid=int(fields.get("pid", "0")),
        device=fields.get("device", ""),
        job=fields.get("job", ""),
        since=float(fields.get("since", "0")),
        beat_at=beat_at,
    )


def _text(reply: Any) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def _rescued(reply: Any) -> list[Rescued]:
    return [Rescued(_text(one[0]), _text(one[1]), JobStatus(_text(one[2])), _text(one[3])) for one in reply]


def _failed(reply: Any, lease: Lease) -> JobStatus:
    status = _text(reply)
    if status == "lost":
        raise LeaseLost(f"The lease on the job {lease.job.id} was lost.")
    return JobStatus(status)
