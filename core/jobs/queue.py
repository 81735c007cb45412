"""The queue on Redis: `Queue` for workers, which may block, and `AsyncQueue` for event loops.

Both send the calls of `Transitions`; what a job can go through is written in `core/lua`. A call whose connection broke
is sent once more, because each is harmless when repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, Self, TypeVar

import redis
import redis.asyncio
from redis import exceptions

from core.errors import QueueUnavailable
from core.jobs.job import DEFAULT_PRIORITY, Beat, DeadLetter, Idle, Job, JobStatus, Lease, Place
from core.jobs.queue_commands import BATCH, Call, NewJob, Rescued, Transitions, WorkerInfo
from core.settings import Settings

__all__ = ["AsyncQueue", "NewJob", "Queue", "Rescued", "WorkerInfo", "is_connection_error"]

Answer = TypeVar("Answer")

BLOCK_SECONDS: Final = 5.0
"""One blocking pop lasts so long at most; the socket waits 5 s longer (core/redis.py)."""
FULL_SECONDS: Final = 0.2
"""How soon a worker whose device is full asks again; it has nothing to be woken by."""

PASSING: Final = (
    exceptions.ConnectionError,  # also authentication and loading
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    QueueUnavailable,
)
"""What a client meets while Redis is away or refuses to write."""
_PASSING_CODES: Final = ("OOM", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING", "UNBLOCKED", "BUSY")


def is_connection_error(error: BaseException) -> bool:
    """Whether Redis is away or refuses to write, which passes; anything else is a fault of ours."""
    if isinstance(error, exceptions.ResponseError) and str(error).startswith(_PASSING_CODES):
        return True
    return isinstance(error, PASSING)


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn an error of Redis that passes into QueueUnavailable."""
    try:
        yield
    except exceptions.RedisError as error:
        if not is_connection_error(error):
            raise
        reason = str(error).partition(" script:")[0].rstrip(".")
        raise QueueUnavailable(f"The queue cannot be used now: {reason}.", hint="Try again in a moment.") from error


class Queue:
    """For code that may block, from any thread. Errors of Redis pass through; see `is_connection_error`."""

    def __init__(
        self,
        redis: redis.Redis,
        *,
        prefix: str = "sovits:",
        lease_seconds: float = 15.0,
        retry_attempts: int = 3,
        retry_delay_seconds: float = 5.0,
        result_ttl_seconds: float = 86_400,
        transitions: Transitions | None = None,
    ) -> None:
        self.redis = redis
        self._execute: Callable[..., Any] = redis.execute_command
        self.transitions = transitions or Transitions(
            prefix,
            lease_seconds=lease_seconds,
            retry_attempts=retry_attempts,
            retry_delay_seconds=retry_delay_seconds,
            result_ttl_seconds=result_ttl_seconds,
        )

    @classmethod
    def from_settings(cls, redis: redis.Redis, settings: Settings) -> Self:
        return cls(redis, transitions=Transitions.from_settings(settings))

    def enqueue(
        self,
        role: str,
        payload: dict[str, Any],
        *,
        job_id: str | None = None,
        priority: int = DEFAULT_PRIORITY,
        topic: str = "",
        idempotency_key: str = "",
        delay_seconds: float = 0.0,
        keep_result_seconds: float | None = None,
        device: str = "",
    ) -> Job:
        """The new job, or the one that already has this id or idempotency key."""
        new = NewJob(role, payload, job_id or "", priority, topic, idempotency_key, delay_seconds, keep_result_seconds)
        new = replace(new, device=device) if device else new
        return self.enqueue_many([new])[0]

    def enqueue_many(self, new: Iterable[NewJob]) -> list[Job]:
        """Like `enqueue` for each, in order."""
        return [job for part in _parts(new) for job in self.run(self.transitions.enqueue(part))]

    def claim(self, role: str, worker_id: str, block_seconds: float = 0.0, place: Place | None = None) -> Lease | None:
        """The next job of a role, waiting up to `block_seconds` for one; whoever enqueues wakes it.

        A worker holds one job at a time: claimed again before the first has ended, that one is handed out again, with a
        new token. So a claim whose answer was lost strands nothing. A worker that tells its `place` is held to the
        limits there, and is also given the jobs that ask for its device.
        """
        deadline = time.monotonic() + block_seconds
        while True:
            found = self.run(self.transitions.claim(role, worker_id, place))
            left = min(BLOCK_SECONDS, deadline - time.monotonic())
            if isinstance(found, Lease):
                return found
            if left <= 0:
                return None
            if found is Idle.FULL:  # what waits may be for someone else, who must find it in the list
                time.sleep(min(left, FULL_SECONDS))
            else:
                # It moves the id to the worker's own list, where the next claim finds it.
                self._execute("BLMOVE", *_move(self.transitions, role, worker_id, place), left)

    def beat(self, lease: Lease) -> Beat:
        """Renew a lease. One whose time has passed is renewed too, unless the reaper was quicker."""
        return self.run(self.transitions.beat(lease))

    def progress(self, lease: Lease, event: Mapping[str, Any]) -> Beat:
        """Renew a lease and tell an event, its `kind` among its data, to who watches the job or its topic."""
        return self.run(self.transitions.progress(lease, event))

    def ack(self, lease: Lease, result: Mapping[str, Any]) -> bool:
        """The job is done. False: the lease was lost and the result is refused."""
        return self.run(self.transitions.ack(lease, result))

    def fail(self, lease: Lease, error: Mapping[str, Any], *, permanent: bool = False) -> JobStatus:
        """DELAYED until its next attempt, DEAD, or CANCELLED if that was asked for; LeaseLost when it is not ours."""
        return self.run(self.transitions.fail(lease, error, permanent=permanent))

    def confirm_cancel(self, lease: Lease) -> bool:
        """The worker stopped, as it was asked to. False: nobody asked, or the lease was lost."""
        return self.run(self.transitions.confirm_cancel(lease))

    def release(self, lease: Lease) -> bool:
        """Hand the job back to the front of its list; counts neither as an attempt nor as a rescue."""
        return self.run(self.transitions.release(lease))

    def reconcile(self, worker_id: str, held: Iterable[str] = ()) -> int:
        """Hand back what this worker was given and never heard of, all but `held`; how many. Counts as nothing."""
        return self.run(self.transitions.reconcile(worker_id, list(held)))

    def cancel(self, job_id: str) -> JobStatus | None:
        """Its status then: PROCESSING until its worker has stopped; None for an unknown job."""
        return self.run(self.transitions.cancel(job_id))

    def forget(self, job_id: str) -> bool:
        """Forget a job that is done or cancelled before its time; False when it is neither."""
        return self.run(self.transitions.forget(job_id))

    def rescue_worker(self, worker_id: str) -> list[Rescued]:
        """The worker is dead: take back what it held."""
        return self.run(self.transitions.rescue_worker(worker_id))

    def reap(self) -> list[Rescued]:
        """Take back what leases ran out on, and what was taken and not claimed 10 s later."""
        rescued: list[Rescued] = []
        while True:
            some = self.run(self.transitions.reap())
            rescued += some
            if len(some) < BATCH:
                return rescued

    def promote(self) -> int:
        """Let delayed jobs that are due wait again; how many."""
        promoted = 0
        while True:
            some = self.run(self.transitions.promote())
            promoted += some
            if some < BATCH:
                return promoted

    def replay(self, job_id: str, *, cancelled: bool = False, after: Iterable[str] = ()) -> bool:
        """Run a dead job again, with all its attempts, once those in `after` have ended; False when it is not dead.

        `cancelled` takes such a one, too.
        """
        return self.run(self.transitions.replay(job_id, cancelled, list(after)))

    def wait_also(self, job_id: str, others: Iterable[str]) -> bool:
        """Let a job that has not begun wait for others, too; False when it has begun, ended or is unknown."""
        return self.run(self.transitions.wait_also(job_id, list(others)))

    def job(self, job_id: str) -> Job | None:
        return self.run(self.transitions.job(job_id))

    def jobs(self, kind: str = "", offset: int = 0, limit: int = 100) -> tuple[list[Job], int]:
        """Newest first, without payloads and results, and how many there are in all.

        `kind` is what the ids of whole jobs begin with (`speech`, `infer`, …); parts of others have none.
        """
        return self.run(self.transitions.jobs(kind, offset, limit))

    def dead_letters(self, offset: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Newest first."""
        return self.run(self.transitions.dead_letters(offset, limit))

    def depths(self) -> dict[str, int]:
        """Jobs that wait, by role, and how many are `processing`, `delayed` and `dead`."""
        return self.run(self.transitions.depths())

    def counters(self) -> dict[str, int]:
        """Since ever: submitted, done, failed (attempts), rescued, dead, replayed, cancelled; 0 is left out."""
        return self.run(self.transitions.counters())

    def register_worker(self, worker_id: str, role: str, host: str, pid: int, device: str = "cpu") -> None:
        """A worker is ready."""
        self.run(self.transitions.register_worker(worker_id, role, host, pid, device))

    def worker_beat(self, worker_id: str) -> None:
        """A worker is still there."""
        self.run(self.transitions.worker_beat(worker_id))

    def forget_worker(self, worker_id: str) -> None:
        """A worker ended."""
        self.run(self.transitions.forget_worker(worker_id))

    def workers(self) -> list[WorkerInfo]:
        """Those that registered and neither ended nor were silent for minutes."""
        return self.run(self.transitions.workers())

    def run(self, call: Call[Answer]) -> Answer:
        """Send a call, and once more when the connection broke."""
        try:
            answer = self._send(call)
        except exceptions.ConnectionError:
            answer = self._send(call)
        return call.parse(answer)

    def _send(self, call: Call[Any]) -> Any:
        if call.script is None:
            return self._execute(*call.command)
        try:
            return self._execute("EVALSHA", call.script.sha, *call.command)
        except exceptions.NoScriptError:
            return self._execute("EVAL", call.script.source, *call.command)


class AsyncQueue:
    """For event loops. While Redis is away or refuses to write, every method raises QueueUnavailable."""

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        *,
        prefix: str = "sovits:",
        lease_seconds: float = 15.0,
        retry_attempts: int = 3,
        retry_delay_seconds: float = 5.0,
        result_ttl_seconds: float = 86_400,
        transitions: Transitions | None = None,
    ) -> None:
        self.redis = redis
        self._execute: Callable[..., Any] = redis.execute_command
        self.transitions = transitions or Transitions(
            prefix,
            lease_seconds=lease_seconds,
            retry_attempts=retry_attempts,
            retry_delay_seconds=retry_delay_seconds,
            result_ttl_seconds=result_ttl_seconds,
        )

    @classmethod
    def from_settings(cls, redis: redis.asyncio.Redis, settings: Settings) -> Self:
        return cls(redis, transitions=Transitions.from_settings(settings))

    async def enqueue(
        self,
        role: str,
        payload: dict[str, Any],
        *,
        job_id: str | None = None,
        priority: int = DEFAULT_PRIORITY,
        topic: str = "",
        idempotency_key: str = "",
        delay_seconds: float = 0.0,
        keep_result_seconds: float | None = None,
        device: str = "",
    ) -> Job:
        """See Queue; so for all that follow."""
        new = NewJob(role, payload, job_id or "", priority, topic, idempotency_key, delay_seconds, keep_result_seconds)
        new = replace(new, device=device) if device else new
        return (await self.enqueue_many([new]))[0]

    async def enqueue_many(self, new: Iterable[NewJob]) -> list[Job]:
        return [job for part in _parts(new) for job in await self.run(self.transitions.enqueue(part))]

    async def claim(
        self, role: str, worker_id: str, block_seconds: float = 0.0, place: Place | None = None
    ) -> Lease | None:
        deadline = time.monotonic() + block_seconds
        while True:
            found = await self.run(self.transitions.claim(role, worker_id, place))
            left = min(BLOCK_SECONDS, deadline - time.monotonic())
            if isinstance(found, Lease):
                return found
            if left <= 0:
                return None
            if found is Idle.FULL:
                await asyncio.sleep(min(left, FULL_SECONDS))
                continue
            with unavailable():
                await self._execute("BLMOVE", *_move(self.transitions, role, worker_id, place), left)

    async def beat(self, lease: Lease) -> Beat:
        return await self.run(self.transitions.beat(lease))

    async def progress(self, lease: Lease, event: Mapping[str, Any]) -> Beat:
        return await self.run(self.transitions.progress(lease, event))

    async def ack(self, lease: Lease, result: Mapping[str, Any]) -> bool:
        return await self.run(self.transitions.ack(lease, result))

    async def fail(self, lease: Lease, error: Mapping[str, Any], *, permanent: bool = False) -> JobStatus:
        return await self.run(self.transitions.fail(lease, error, permanent=permanent))

    async def confirm_cancel(self, lease: Lease) -> bool:
        return await self.run(self.transitions.confirm_cancel(lease))

    async def release(self, lease: Lease) -> bool:
        return await self.run(self.transitions.release(lease))

    async def reconcile(self, worker_id: str, held: Iterable[str] = ()) -> int:
        return await self.run(self.transitions.reconcile(worker_id, list(held)))

    async def cancel(self, job_id: str) -> JobStatus | None:
        return await self.run(self.transitions.cancel(job_id))

    async def forget(self, job_id: str) -> bool:
        return await self.run(self.transitions.forget(job_id))

    async def rescue_worker(self, worker_id: str) -> list[Rescued]:
        return await self.run(self.transitions.rescue_worker(worker_id))

    async def reap(self) -> list[Rescued]:
        rescued: list[Rescued] = []
        while True:
            some = await self.run(self.transitions.reap())
            rescued += some
            if len(some) < BATCH:
                return rescued

    async def promote(self) -> int:
        promoted = 0
        while True:
            some = await self.run(self.transitions.promote())
            promoted += some
            if some < BATCH:
                return promoted

    async def replay(self, job_id: str, *, cancelled: bool = False, after: Iterable[str] = ()) -> bool:
        return await self.run(self.transitions.replay(job_id, cancelled, list(after)))

    async def wait_also(self, job_id: str, others: Iterable[str]) -> bool:
        return await self.run(self.transitions.wait_also(job_id, list(others)))

    async def jobs(self, kind: str = "", offset: int = 0, limit: int = 100) -> tuple[list[Job], int]:
        return await self.run(self.transitions.jobs(kind, offset, limit))

    async def job(self, job_id: str) -> Job | None:
        return await self.run(self.transitions.job(job_id))

    async def dead_letters(self, offset: int = 0, limit: int = 100) -> list[DeadLetter]:
        return await self.run(self.transitions.dead_letters(offset, limit))

    async def depths(self) -> dict[str, int]:
        return await self.run(self.transitions.depths())

    async def counters(self) -> dict[str, int]:
        return await self.run(self.transitions.counters())

    async def register_worker(self, worker_id: str, role: str, host: str, pid: int, device: str = "cpu") -> None:
        await self.run(self.transitions.register_worker(worker_id, role, host, pid, device))

    async def worker_beat(self, worker_id: str) -> None:
        await self.run(self.transitions.worker_beat(worker_id))

    async def forget_worker(self, worker_id: str) -> None:
        await self.run(self.transitions.forget_worker(worker_id))

    async def workers(self) -> list[WorkerInfo]:
        return await self.run(self.transitions.workers())

    async def run(self, call: Call[Answer]) -> Answer:
        with unavailable():
            try:
                answer = await self._send(call)
            except exceptions.ConnectionError:
                answer = await self._send(call)
        return call.parse(answer)

    async def _send(self, call: Call[Any]) -> Any:
        if call.script is None:
            return await self._execute(*call.command)
        try:
            return await self._execute("EVALSHA", call.script.sha, *call.command)
        except exceptions.NoScriptError:
            return await self._execute("EVAL", call.script.source, *call.command)


def _move(transitions: Transitions, role: str, worker_id: str, place: Place | None) -> tuple[str, str, str, str]:
    return transitions.waiting_list(role, place), transitions.processing_list(worker_id), "RIGHT", "LEFT"


def _parts(new: Iterable[NewJob]) -> Iterator[list[NewJob]]:
    """A script holds the server up, so a long list goes in parts."""
    jobs = list(new)
    for first in range(0, len(jobs), BATCH):
        yield jobs[first : first + BATCH]
