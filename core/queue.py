"""The queue on Redis, for synchronous workers (`Queue`) and for the event loops of the API and the supervisor (`AsyncQueue`).

Both run the same scripts (`core/lua`); every call is harmless when repeated, so a lost reply is answered by asking again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Self, TypeVar, cast

import redis
import redis.asyncio
import redis.exceptions

from core.errors import QueueUnavailable
from core.job import DEFAULT_PRIORITY, Beat, DeadLetter, Job, JobStatus, Lease
from core.roles import WAITING_LISTS
from core.settings import Settings
from core.transitions import (
    UNCLAIMED_SECONDS,
    Call,
    NewJob,
    Rescued,
    Transitions,
    WorkerInfo,
    parse_job,
    parse_letter,
    parse_worker,
    script_source,
)

__all__ = ["AsyncQueue", "NewJob", "Queue", "Rescued", "WorkerInfo", "is_connection_error"]

Result = TypeVar("Result")
WORKER_SECONDS = 60
"""A worker that has not told of itself for so long is not listed any more."""


def is_connection_error(error: BaseException) -> bool:
    """Whether Redis is away or refuses to write, which passes; anything else is a fault of ours."""
    return isinstance(
        error,
        redis.exceptions.ConnectionError
        | redis.exceptions.TimeoutError
        | redis.exceptions.ReadOnlyError
        | redis.exceptions.OutOfMemoryError
        | redis.exceptions.BusyLoadingError
        | QueueUnavailable
        | OSError,
    ) or (
        isinstance(error, redis.exceptions.ResponseError)
        and str(error).startswith(("OOM", "READONLY", "MISCONF", "LOADING"))
    )


def _transitions(settings: Settings) -> Transitions:
    return Transitions(
        prefix=settings.redis_prefix,
        lease_seconds=settings.lease_seconds,
        retry_attempts=settings.worker_retry_attempts,
        retry_delay_seconds=settings.worker_retry_delay_seconds,
        result_ttl_seconds=settings.result_expiry_seconds,
    )


class Queue:
    """For code that may block. Errors of Redis pass through; see `is_connection_error`."""

    def __init__(self, client: redis.Redis, transitions: Transitions | None = None, **numbers: Any) -> None:
        """`numbers` are fields of Transitions: prefix, lease_seconds, retry_attempts …"""
        self.redis = client
        self.transitions = transitions or Transitions(**numbers)
        self._scripts: dict[str, Any] = {}

    @classmethod
    def from_settings(cls, client: redis.Redis, settings: Settings) -> Self:
        return cls(client, _transitions(settings))

    def enqueue(
        self,
        role: str,
        payload: dict[str, Any],
        *,
        job_id: str = "",
        priority: int = DEFAULT_PRIORITY,
        topic: str = "",
        idempotency_key: str = "",
        delay_seconds: float = 0.0,
        keep_result_seconds: float | None = None,
    ) -> Job:
        """The job; one that was there already under this id or idempotency key."""
        new = NewJob(
            role, payload, job_id, priority, topic, idempotency_key, delay_seconds, keep_result_seconds
        )
        return self.enqueue_many([new])[0]

    def enqueue_many(self, new: Iterable[NewJob]) -> list[Job]:
        """Enqueue in order; each job is there or is not, and asking again adds nothing."""
        ids = [self._run(self.transitions.enqueue(one)) for one in new]
        with self.redis.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(self.transitions.key(f"job:{job_id}"))
            return [parse_job(fields) for fields in pipe.execute()]

    def claim(self, role: str, worker_id: str, block_seconds: float = 0.0) -> Lease | None:
        """The next job of a role, by priority and age; waits up to `block_seconds` for one to come."""
        lease = self._run(self.transitions.claim(role, worker_id))
        if lease is not None or block_seconds <= 0:
            return lease
        popped = self.redis.blmove(
            self.transitions.key(WAITING_LISTS[role]),
            self.transitions.key(f"processing:{worker_id}"),
            block_seconds,  # type: ignore[arg-type]  # the server takes fractions, the stub says int
            "RIGHT",
            "LEFT",
        )
        return self._run(self.transitions.claim(role, worker_id, str(popped))) if popped else None

    def beat(self, lease: Lease) -> Beat:
        """Renew a lease."""
        return self._run(self.transitions.beat(lease))

    def progress(self, lease: Lease, event: dict[str, Any]) -> Beat:
        """Renew a lease and tell `event` (its `kind`, or progress) on the job's channel and its topic's."""
        return self._run(self.transitions.progress(lease, event))

    def ack(self, lease: Lease, result: dict[str, Any]) -> bool:
        """The job is done. False: the lease was lost and the result is refused."""
        return self._run(self.transitions.ack(lease, result))

    def fail(self, lease: Lease, error: dict[str, Any], *, permanent: bool = False) -> JobStatus:
        """DELAYED until the next attempt, or DEAD. Raises LeaseLost."""
        return self._run(self.transitions.fail(lease, error, permanent=permanent))

    def confirm_cancel(self, lease: Lease) -> bool:
        """The worker stopped the job as it was asked to."""
        return self._run(self.transitions.confirm_cancel(lease))

    def release(self, lease: Lease) -> bool:
        """Hand the job back to the front of its list; counts as nothing."""
        return self._run(self.transitions.release(lease))

    def cancel(self, job_id: str) -> JobStatus | None:
        """The status after it: CANCELLED, or PROCESSING while its worker is being told; None for an unknown job."""
        return self._run(self.transitions.cancel(job_id))

    def rescue_worker(self, worker_id: str, reason: str = "the worker died") -> list[Rescued]:
        """Take back what a dead worker held."""
        return self._run(self.transitions.rescue_worker(worker_id, reason))

    def reap(self, unclaimed_seconds: float = UNCLAIMED_SECONDS) -> list[Rescued]:
        """Take back what leases ran out on, and ids taken but never claimed."""
        return self._run(self.transitions.reap(unclaimed_seconds))

    def reconcile(self, worker_id: str, held: Sequence[str] = ()) -> int:
        """After a lost connection: hand back ids that were moved to this worker's list without its hearing of it."""
        return self._run(self.transitions.reconcile(worker_id, held))

    def promote(self) -> int:
        """Let delayed jobs that are due wait again."""
        return self._run(self.transitions.promote())

    def replay(self, job_id: str) -> bool:
        """Run a dead letter once more; False when there is none of that id."""
        return self._run(self.transitions.replay(job_id))

    def job(self, job_id: str) -> Job | None:
        fields = self.redis.hgetall(self.transitions.key(f"job:{job_id}"))
        return parse_job(cast(dict[str, str], fields)) if fields else None

    def dead_letters(self, offset: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Newest first."""
        documents = self.redis.lrange(self.transitions.key("dead_letter_queue"), offset, offset + limit - 1)
        return [parse_letter(document) for document in cast(list[str], documents)]

    def depths(self) -> dict[str, int]:
        """Waiting jobs by role, and how many are processing, delayed and dead."""
        with self.redis.pipeline(transaction=False) as pipe:
            _ask_depths(pipe, self.transitions)
            return _read_depths(pipe.execute())

    def counters(self) -> dict[str, int]:
        """Jobs ever submitted, done, dead, cancelled."""
        found = cast(dict[str, str], self.redis.hgetall(self.transitions.key("counters")))
        return {name: int(value) for name, value in found.items()}

    def register_worker(self, worker_id: str, role: str, host: str, pid: int, device: str = "cpu") -> None:
        """A worker is ready."""
        with self.redis.pipeline() as pipe:
            fields: dict[Any, Any] = {
                "role": role,
                "host": host,
                "pid": str(pid),
                "device": device,
                "since": repr(time.time()),
            }
            pipe.hset(self.transitions.key(f"worker:{worker_id}"), mapping=fields)
            self._tell_alive(pipe, worker_id)
            pipe.execute()

    def worker_beat(self, worker_id: str) -> None:
        """A worker is still there."""
        with self.redis.pipeline() as pipe:
            self._tell_alive(pipe, worker_id)
            pipe.execute()

    def forget_worker(self, worker_id: str) -> None:
        """A worker ended."""
        self.redis.delete(self.transitions.key(f"worker:{worker_id}"))
        self.redis.zrem(self.transitions.key("workers"), worker_id)

    def workers(self) -> list[WorkerInfo]:
        """Workers that told of themselves within the last minute."""
        alive = self.redis.zrangebyscore(
            self.transitions.key("workers"), _now(self.redis.time()) - WORKER_SECONDS, "+inf", withscores=True
        )
        with self.redis.pipeline(transaction=False) as pipe:
            for worker_id, _ in cast(list[tuple[str, float]], alive):
                pipe.hgetall(self.transitions.key(f"worker:{worker_id}"))
            return _read_workers(cast(list[tuple[str, float]], alive), pipe.execute())

    def _tell_alive(self, pipe: Any, worker_id: str) -> None:
        pipe.zadd(self.transitions.key("workers"), {worker_id: _now(self.redis.time())})
        pipe.expire(self.transitions.key(f"worker:{worker_id}"), 10 * WORKER_SECONDS)

    def _run(self, call: Call[Result]) -> Result:
        script = self._scripts.get(call.script)
        if script is None:
            script = self._scripts[call.script] = self.redis.register_script(script_source(call.script))
        return call.parse(script(keys=[self.transitions.prefix], args=call.arguments))


class AsyncQueue:
    """For event loops. An unreachable or refusing Redis is QueueUnavailable."""

    def __init__(
        self, client: redis.asyncio.Redis, transitions: Transitions | None = None, **numbers: Any
    ) -> None:
        self.redis = client
        self.transitions = transitions or Transitions(**numbers)
        self._scripts: dict[str, Any] = {}

    @classmethod
    def from_settings(cls, client: redis.asyncio.Redis, settings: Settings) -> Self:
        return cls(client, _transitions(settings))

    async def enqueue(
        self,
        role: str,
        payload: dict[str, Any],
        *,
        job_id: str = "",
        priority: int = DEFAULT_PRIORITY,
        topic: str = "",
        idempotency_key: str = "",
        delay_seconds: float = 0.0,
        keep_result_seconds: float | None = None,
    ) -> Job:
        """The job; one that was there already under this id or idempotency key."""
        new = NewJob(
            role, payload, job_id, priority, topic, idempotency_key, delay_seconds, keep_result_seconds
        )
        return (await self.enqueue_many([new]))[0]

    async def enqueue_many(self, new: Iterable[NewJob]) -> list[Job]:
        """Enqueue in order; each job is there or is not, and asking again adds nothing."""
        ids = [await self._run(self.transitions.enqueue(one)) for one in new]
        pipe = self.redis.pipeline(transaction=False)
        for job_id in ids:
            pipe.hgetall(self.transitions.key(f"job:{job_id}"))
        return [parse_job(fields) for fields in await self._ask(pipe.execute)]

    async def claim(self, role: str, worker_id: str) -> Lease | None:
        """The next job of a role, or nothing; workers, which wait, use Queue."""
        return await self._run(self.transitions.claim(role, worker_id))

    async def cancel(self, job_id: str) -> JobStatus | None:
        """The status after it: CANCELLED, or PROCESSING while its worker is being told; None for an unknown job."""
        return await self._run(self.transitions.cancel(job_id))

    async def rescue_worker(self, worker_id: str, reason: str = "the worker died") -> list[Rescued]:
        """Take back what a dead worker held."""
        return await self._run(self.transitions.rescue_worker(worker_id, reason))

    async def reap(self, unclaimed_seconds: float = UNCLAIMED_SECONDS) -> list[Rescued]:
        """Take back what leases ran out on, and ids taken but never claimed."""
        return await self._run(self.transitions.reap(unclaimed_seconds))

    async def promote(self) -> int:
        """Let delayed jobs that are due wait again."""
        return await self._run(self.transitions.promote())

    async def replay(self, job_id: str) -> bool:
        """Run a dead letter once more; False when there is none of that id."""
        return await self._run(self.transitions.replay(job_id))

    async def job(self, job_id: str) -> Job | None:
        fields = await self._ask(lambda: self.redis.hgetall(self.transitions.key(f"job:{job_id}")))
        return parse_job(fields) if fields else None

    async def dead_letters(self, offset: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Newest first."""
        key = self.transitions.key("dead_letter_queue")
        documents = await self._ask(lambda: self.redis.lrange(key, offset, offset + limit - 1))
        return [parse_letter(document) for document in documents]

    async def depths(self) -> dict[str, int]:
        """Waiting jobs by role, and how many are processing, delayed and dead."""
        pipe = self.redis.pipeline(transaction=False)
        _ask_depths(pipe, self.transitions)
        return _read_depths(await self._ask(pipe.execute))

    async def counters(self) -> dict[str, int]:
        """Jobs ever submitted, done, dead, cancelled."""
        found = await self._ask(lambda: self.redis.hgetall(self.transitions.key("counters")))
        return {name: int(value) for name, value in found.items()}

    async def forget_worker(self, worker_id: str) -> None:
        """A worker ended."""
        await self._ask(lambda: self.redis.delete(self.transitions.key(f"worker:{worker_id}")))
        await self._ask(lambda: self.redis.zrem(self.transitions.key("workers"), worker_id))

    async def workers(self) -> list[WorkerInfo]:
        """Workers that told of themselves within the last minute."""
        since = _now(await self._ask(self.redis.time)) - WORKER_SECONDS
        key = self.transitions.key("workers")
        alive = await self._ask(lambda: self.redis.zrangebyscore(key, since, "+inf", withscores=True))
        pipe = self.redis.pipeline(transaction=False)
        for worker_id, _ in alive:
            pipe.hgetall(self.transitions.key(f"worker:{worker_id}"))
        return _read_workers(alive, await self._ask(pipe.execute))

    async def _run(self, call: Call[Result]) -> Result:
        script = self._scripts.get(call.script)
        if script is None:
            script = self._scripts[call.script] = self.redis.register_script(script_source(call.script))
        return call.parse(
            await self._ask(lambda: script(keys=[self.transitions.prefix], args=call.arguments))
        )

    async def _ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await question()
        except Exception as error:
            if not is_connection_error(error):
                raise
            raise QueueUnavailable(
                f"Redis cannot be used now: {error}.", hint="Try again in a moment; nothing was half-written."
            ) from error


def _ask_depths(pipe: Any, transitions: Transitions) -> None:
    for name in WAITING_LISTS.values():
        pipe.llen(transitions.key(name))
    pipe.zcard(transitions.key("leases"))
    pipe.zcard(transitions.key("delayed"))
    pipe.llen(transitions.key("dead_letter_queue"))


def _read_depths(replies: list[int]) -> dict[str, int]:
    return dict(zip([*WAITING_LISTS, "processing", "delayed", "dead"], replies, strict=True))


def _read_workers(alive: list[tuple[str, float]], replies: list[dict[str, str]]) -> list[WorkerInfo]:
    return [
        parse_worker(worker_id, fields, beat_at)
        for (worker_id, beat_at), fields in zip(alive, replies, strict=True)
        if fields
    ]


def _now(reply: Any) -> float:
    seconds, microseconds = reply
    return float(seconds) + float(microseconds) / 1e6
