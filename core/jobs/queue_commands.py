"""The operations of the queue. Each is one Lua script (`core/jobs/lua`), declared once for `Queue` and `AsyncQueue`.

Every script carries all that it needs, a new id or nonce included, and is harmless when it is sent again because its
reply was lost.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import orjson
from redis import exceptions

from core.access import current_caller
from core.creation import creation_id
from core.errors import ErrorData, LeaseLost, QueueUnavailable
from core.jobs.job import (
    TERMINAL_EVENTS,
    ChunkStatus,
    DeadLetter,
    Event,
    Job,
    JobStatus,
    Lease,
    LeaseStatus,
    NewJob,
    RescuedJob,
    WorkerInfo,
    WorkerLocation,
)
from core.jobs.job_fields import (
    enqueue_arguments,
    identify,
    job_from_fields,
    pair_up,
    parse_dead_letter,
    parse_job,
    parse_rescued,
    quota_error,
    waiting_list,
)
from core.jobs.roles import WAITING_LISTS
from core.jobs.transport import AnyTransport, RedisCommands, command
from core.logs import current_request
from core.settings import Settings

TOPIC_SECONDS: Final = 7 * 86_400
"""How long the history of a topic is kept after its last event."""
BATCH_SIZE: Final = 100
"""Jobs that one script enqueues, reaps or promotes: the server does nothing else while a script runs."""
EVENTS_PAGE: Final = 500
JOBS_PAGE: Final = 500
MARKS_TOGETHER: Final = 500
BLOCK_SECONDS: Final = 5.0
"""One blocking pop lasts at most so long; the socket times out 5 s later (core/redis.py)."""
FULL_SECONDS: Final = 0.2
"""How soon a worker whose device is full claims again; nothing would wake it."""
PREFERENCE_SECONDS: Final = 0.02
"""How soon a worker claims again that left a job to one that has its voice loaded."""
UNCLAIMED_SECONDS: Final = 10.0
"""An id that was popped and not claimed for so long goes back: its worker died in between."""
OUTAGE_SECONDS: Final = 10.0
"""Without a reaper for so long, Redis was away; then workers get one more lease to come back in."""
PROBE_SECONDS: Final = 60
MEMORY_CHECK_SECONDS: Final = 1.0
HOLDER_SECONDS: Final = 3600
"""How long it is known what a worker process has loaded, unless it records it again."""
MAX_CHUNKS: Final = 256
"""Chunks of one stream that wait for their reader; the worker waits before it adds more."""
SILENT_SECONDS: Final = 300.0
"""A worker without a heartbeat for so long is forgotten."""


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """What all users of one queue agree on."""

    prefix: str = "sovits:"
    """Of every key."""
    lease_seconds: float = 15.0
    retry_attempts: int = 3
    retry_delay_seconds: float = 5.0
    """Before the second attempt; before each further one three times as long."""
    result_ttl_seconds: float = 86_400
    memory_share: float = 1.0
    """Share of the memory of Redis above which new jobs are rejected; what runs already needs some of the rest."""

    @classmethod
    def from_settings(cls, settings: Settings, *, memory_share: float = 1.0) -> Self:
        """Return the options that the settings describe."""
        return cls(
            settings.key_prefix,
            lease_seconds=settings.lease_seconds,
            retry_attempts=settings.worker_retry_attempts,
            retry_delay_seconds=settings.worker_retry_delay_seconds,
            result_ttl_seconds=settings.result_expiry_seconds,
            memory_share=memory_share,
        )


class QueueCommands(RedisCommands[AnyTransport]):
    """All that can be done with jobs, workers and their histories."""

    def __init__(self, transport: AnyTransport, options: QueueOptions | None = None) -> None:
        self.options = options or QueueOptions()
        super().__init__(transport, self.options.prefix)
        self._keep = math.ceil(self.options.result_ttl_seconds)
        self._memory_checked_at = float("-inf")
        self._memory_used = 0.0

    # New jobs

    @command
    async def enqueue(self, job: NewJob) -> Job:
        """Add a job and return it, or the job that already has this id or idempotency key.

        It belongs to the caller unless it names an owner. InvalidRequest for a priority outside 1–10, QuotaExceeded
        when the caller's key has no room for it.
        """
        return (await self._enqueue([job]))[0]

    @command
    async def enqueue_many(self, jobs: Iterable[NewJob]) -> list[Job]:
        """Add jobs in order, as `enqueue` does; of each hundred, all or (when Redis rejects the write) none."""
        jobs = list(jobs)
        batches = [jobs[first : first + BATCH_SIZE] for first in range(0, len(jobs), BATCH_SIZE)]
        return [job for batch in batches for job in await self._enqueue(batch)]

    async def _check_memory(self) -> None:
        """Raise QueueUnavailable when Redis uses more than its share of memory; it is asked once a second."""
        now = time.monotonic()
        if now - self._memory_checked_at > MEMORY_CHECK_SECONDS:
            self._memory_checked_at = now
            try:
                memory = await self._send("INFO", "memory")
            except exceptions.NoPermissionError:
                return  # then Redis itself rejects what does not fit
            maximum = int(memory.get("maxmemory", 0))
            self._memory_used = int(memory["used_memory"]) / maximum if maximum else 0.0
        if self._memory_used > self.options.memory_share:
            raise QueueUnavailable(
                f"The queue uses {self._memory_used:.0%} of its memory and takes nothing new.",
                hint="Try again later; REDIS_MEMORY_MB gives it more.",
            )

    async def _enqueue(self, jobs: Sequence[NewJob]) -> list[Job]:
        if self.options.memory_share < 1.0:
            await self._check_memory()
        ids = [job.job_id or creation_id("job") for job in jobs]
        payloads = [orjson.dumps(job.payload) for job in jobs]
        caller = current_caller()
        owners = [job.owner or caller.owner or "" for job in jobs]
        quota = (caller.quota.jobs_waiting, caller.quota.characters_per_day)
        arguments: list[object] = [int(bool(caller.key_id)), *("" if limit is None else limit for limit in quota)]
        for job, job_id, payload, owner in zip(jobs, ids, payloads, owners, strict=True):
            arguments += enqueue_arguments(job, job_id, payload, owner)
        replies = await self._run_script("enqueue", *arguments)
        if isinstance(replies, str):
            raise quota_error(replies, caller.quota)
        enqueued = []
        for job, job_id, payload, owner, reply in zip(jobs, ids, payloads, owners, replies, strict=True):
            if not isinstance(reply, str):  # the job that was there
                enqueued.append(parse_job(*reply))
                continue
            enqueued.append(
                Job(
                    id=job_id,
                    role=job.role,
                    payload=orjson.loads(payload),
                    status=JobStatus.DELAYED if job.depends_on or job.delay_seconds > 0 else JobStatus.WAITING,
                    priority=job.priority,
                    device=job.device,
                    owner=owner,
                    request_id=job.request_id or current_request.get(),
                    topic=job.topic,
                    stream=job.stream,
                    pending_dependencies=len(job.depends_on),
                    created_at=float(reply),
                )
            )
        return enqueued

    # The worker of a job

    @command
    async def claim(
        self,
        role: str,
        worker_id: str,
        block_seconds: float = 0.0,
        location: WorkerLocation | None = None,
        *,
        draining: bool = False,
    ) -> Lease | None:
        """Claim the next job of a role, waiting up to `block_seconds` for one; a new job wakes the claim.

        A worker holds one job at a time: when it claims again before the first job has ended, it gets that job again,
        with a new token. So a claim whose reply was lost strands nothing. A worker that names its `location` is held to
        the limits there and also gets jobs with a constraint that its device meets. One that is `draining` gets only
        what continues a stream of audio, and does not wait for it.
        """
        list_name = waiting_list(role)
        arguments: tuple[object, ...] = ("", "", "", 0)
        if location is not None:
            if location.dedicated:
                list_name = f"{list_name}@{location.device}"
            arguments = (location.device, location.kind, location.host, location.limit)
        deadline = time.monotonic() + block_seconds
        while True:
            reply = await self._run_script(
                "claim", worker_id, list_name, self.options.lease_seconds, self._keep, *arguments, int(draining)
            )
            if isinstance(reply, list):
                job_id, expires_at, fields = reply
                job = parse_job(job_id, fields)
                return Lease(job, worker_id, job.token, float(expires_at))
            seconds = min(BLOCK_SECONDS, deadline - time.monotonic())
            if seconds <= 0 or draining:
                return None
            if reply == "later":
                await self.transport.sleep(PREFERENCE_SECONDS)
            elif reply == "full":
                # The jobs that wait may be for other workers, who must find them in the list.
                await self.transport.sleep(min(seconds, FULL_SECONDS))
            else:
                # The pop moves an id to the worker's own list, where the next claim finds it. It is sent only once: a
                # second one, after a lost reply, would move a second job.
                processing = self.key(f"processing:{worker_id}")
                await self.transport.execute("BLMOVE", self.key(list_name), processing, "RIGHT", "LEFT", seconds)

    @command
    async def renew_lease(self, lease: Lease) -> LeaseStatus:
        """Renew a lease. One that has expired is renewed, too, unless the reaper was quicker."""
        return LeaseStatus(await self._run_script("renew_lease", *identify(lease), self.options.lease_seconds))

    @command
    async def progress(self, lease: Lease, data: Mapping[str, object], kind: str = "progress") -> LeaseStatus:
        """Renew a lease and add an event to the history of the job and of its topic."""
        event = (kind, orjson.dumps(data), os.urandom(6).hex(), self._keep, TOPIC_SECONDS)
        return LeaseStatus(await self._run_script("progress", *identify(lease), self.options.lease_seconds, *event))

    @command
    async def renew_leases(self, leases: Sequence[Lease], worker_ids: Iterable[str]) -> list[LeaseStatus]:
        """Renew all leases of a process, as `renew_lease` does, and record that its workers are alive."""
        identities = [part for lease in leases for part in identify(lease)]
        arguments = (self.options.lease_seconds, len(leases), *identities, *worker_ids)
        return [LeaseStatus(status) for status in await self._run_script("renew_leases", *arguments)]

    @command
    async def publish_chunk(
        self, lease: Lease, start: int, sample_rate: int, samples: bytes, words: Sequence[Mapping[str, object]] = ()
    ) -> ChunkStatus:
        """Renew a lease and add samples, `start` bytes from the beginning, to the stream of audio of the job.

        What was published before is left out, so a worker that takes a job over publishes it all again. `words`: those
        that end in the samples.
        """
        spoken = orjson.dumps(words) if words else b""
        arguments = (self.options.lease_seconds, start, sample_rate, samples, MAX_CHUNKS, spoken)
        return ChunkStatus(await self._run_script("publish_chunk", *identify(lease), *arguments))

    @command
    async def ack(self, lease: Lease, result: Mapping[str, object]) -> bool:
        """End a job with its result; return False when the lease was lost and the result is rejected."""
        return bool(await self._run_script("ack", *identify(lease), orjson.dumps(result), self._keep))

    @command
    async def fail(
        self, lease: Lease, error: ErrorData, *, permanent: bool = False, callers_mistake: bool = False
    ) -> JobStatus:
        """Count a failed attempt; LeaseLost when the job is another worker's by now.

        Return DELAYED when there will be another attempt, DEAD when not, CANCELLED when that had been requested.
        `callers_mistake`: the job ends DEAD at once, without a dead letter.
        """
        status = await self._run_script(
            "fail",
            *identify(lease),
            orjson.dumps(error),
            str(error.get("code", "")),
            str(error.get("message", "")),
            int(permanent),
            self.options.retry_attempts,
            self.options.retry_delay_seconds,
            random.uniform(0.5, 1.0),  # so that what failed together does not come back together
            self._keep,
            int(callers_mistake),
        )
        if status == "lost":
            raise LeaseLost(f"The job {lease.job.id} is not this worker's any more.")
        return JobStatus(status)

    @command
    async def confirm_cancel(self, lease: Lease) -> bool:
        """End a job whose worker stopped on request; return False when nobody requested it or the lease was lost."""
        return bool(await self._run_script("confirm_cancel", *identify(lease), self._keep))

    @command
    async def release(self, lease: Lease) -> bool:
        """Return a job to the front of its list, counted neither as an attempt nor as a rescue."""
        return bool(await self._run_script("release", *identify(lease), self._keep))

    @command
    async def reconcile(self, worker_id: str, held: Iterable[str] = ()) -> int:
        """Return the jobs of a worker process except `held`, which it knows of, to their lists; nothing is counted.

        Return how many.
        """
        return int(await self._run_script("reconcile", worker_id, self._keep, *held))

    @command
    async def undo_rescue(self, worker_id: str, job_id: str) -> bool:
        """Uncount the latest rescue from a worker, if it was of this job: it is alive and was only cut off from Redis.

        Return False when there is none.
        """
        return bool(await self._run_script("undo_rescue", worker_id, job_id))

    # Everybody else

    @command
    async def cancel(self, job_id: str) -> JobStatus | None:
        """Cancel a job and return its status: PROCESSING until its worker has stopped; None for an unknown job."""
        if not await self._may_touch(job_id):
            return None
        status = await self._run_script("cancel", job_id, self._keep)
        return JobStatus(status) if status else None

    @command
    async def add_dependencies(self, job_id: str, dependencies: Iterable[str]) -> bool:
        """Let a job wait for further jobs; return False when it has started, ended or is unknown."""
        return bool(await self._run_script("add_dependencies", job_id, orjson.dumps(list(dependencies))))

    @command
    async def replay(self, job_id: str, *, include_cancelled: bool = False, depends_on: Iterable[str] = ()) -> bool:
        """Run a dead job (or a cancelled one, too) again with all its attempts, once the jobs `depends_on` have ended.

        Return False when it is not dead.
        """
        if not await self._may_touch(job_id):
            return False
        return bool(await self._run_script("replay", job_id, int(include_cancelled), orjson.dumps(list(depends_on))))

    @command
    async def forget(self, job_id: str) -> bool:
        """Delete a job that is done or cancelled before its time; return False when it is neither."""
        if not await self._may_touch(job_id):
            return False
        return bool(await self._run_script("forget", job_id))

    @command
    async def rescue_worker(self, worker_id: str) -> list[RescuedJob]:
        """Requeue the jobs of a dead worker process, those of all its slots."""
        return parse_rescued(await self._run_script("rescue_worker", worker_id, self._keep))

    @command
    async def reap(self) -> list[RescuedJob]:
        """Requeue jobs whose lease expired, and ids that were popped and not claimed within 10 s."""
        rescued: list[RescuedJob] = []
        arguments = (BATCH_SIZE, self.options.lease_seconds, UNCLAIMED_SECONDS, OUTAGE_SECONDS, SILENT_SECONDS)
        while True:
            batch = parse_rescued(await self._run_script("reap", *arguments, self._keep))
            rescued += batch
            if len(batch) < BATCH_SIZE:
                return rescued

    @command
    async def promote(self) -> int:
        """Let delayed jobs wait again whose time has come; return how many."""
        promoted = 0
        while True:
            batch = int(await self._run_script("promote", BATCH_SIZE))
            promoted += batch
            if batch < BATCH_SIZE:
                return promoted

    # Queries

    @command
    async def job(self, job_id: str) -> Job | None:
        """Return a job, or None when it is unknown, was forgotten or is nothing that the caller may see."""
        fields = await self._send("HGETALL", self.key(f"job:{job_id}"))
        return job_from_fields(job_id, fields) if fields and current_caller().sees(fields.get("owner")) else None

    async def _may_touch(self, job_id: str) -> bool:
        """Return whether the caller may see a job; one that is unknown or was forgotten is nobody's."""
        caller = current_caller()
        return caller.sees_all or caller.sees(await self._send("HGET", self.key(f"job:{job_id}"), "owner"))

    @command
    async def jobs(self, kind: str = "", offset: int = 0, limit: int = 100) -> tuple[list[Job], int]:
        """Return a page of jobs, newest first, without payloads and results, and how many there are in all.

        `kind` is the first part of an id (`speech`, `infer`, …); the parts of other jobs are not among them. For a
        caller that does not see all jobs, all are read.
        """
        caller = current_caller()
        if caller.sees_all:
            return await self._list_jobs(kind, offset, limit)
        visible: list[Job] = []
        read, total = 0, 1
        while read < total:
            page, total = await self._list_jobs(kind, read, JOBS_PAGE)
            visible += (job for job in page if caller.sees(job.owner))
            read += JOBS_PAGE
        return visible[offset : offset + limit], len(visible)

    async def _list_jobs(self, kind: str, offset: int, limit: int) -> tuple[list[Job], int]:
        total, *listed = await self._run_script("list_jobs", kind, offset, limit)
        return [parse_job(job_id, ["payload", "{}", *fields]) for job_id, fields in listed], int(total)

    @command
    async def dead_letters(self, offset: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Return a page of the dead letters, newest first."""
        return (await self._page_dead_letters(offset, limit))[0]

    @command
    async def page_dead_letters(self, offset: int, limit: int) -> tuple[list[DeadLetter], int]:
        """Return a page of the dead letters that the caller may see, newest first, and how many there are in all."""
        return await self._page_dead_letters(offset, limit)

    async def _page_dead_letters(self, offset: int, limit: int) -> tuple[list[DeadLetter], int]:
        key, caller = self.key("dead_letter_queue"), current_caller()
        if caller.sees_all:
            documents = await self._send("LRANGE", key, offset, offset + limit - 1)
            return [parse_dead_letter(document) for document in documents], int(await self._send("LLEN", key))
        letters = [parse_dead_letter(document) for document in await self._send("LRANGE", key, 0, -1)]
        visible = [letter for letter in letters if caller.sees(letter.owner)]
        return visible[offset : offset + limit], len(visible)

    @command
    async def probe(self) -> None:
        """Write something small: what Redis rejects writes with is raised."""
        await self._send("SET", self.key("probe"), 1, "EX", PROBE_SECONDS)

    @command
    async def depths(self) -> dict[str, int]:
        """Return the numbers of waiting jobs by role, and of jobs that are `processing`, `delayed` and `dead`."""
        counts = await self._run_script("depths", *WAITING_LISTS.values())
        return dict(zip((*WAITING_LISTS, "processing", "delayed", "dead"), counts, strict=True))

    @command
    async def counters(self) -> dict[str, int]:
        """Return totals: submitted, done, failed (attempts), rescued, dead, replayed, cancelled; 0 is left out."""
        counters = await self._send("HGETALL", self.key("counters"))
        return {name: int(count) for name, count in counters.items()}

    # Workers

    @command
    async def register_worker(
        self, worker_id: str, role: str, host: str, pid: int, device: str = "cpu", slots: int = 1
    ) -> None:
        """Record that a worker is ready; `slots` are the workers of its process."""
        await self._run_script("register_worker", worker_id, role, host, pid, device, slots)

    @command
    async def worker_heartbeat(self, worker_id: str) -> None:
        """Record that a worker is alive."""
        await self._run_script("worker_heartbeat", worker_id)

    @command
    async def forget_worker(self, worker_id: str) -> None:
        """Delete the records of a worker process that ended, those of all its slots."""
        await self._run_script("forget_worker", worker_id)

    @command
    async def note_draining(self, worker_id: str) -> None:
        """Record that a worker claims nothing new any more."""
        await self._send("HSET", self.key(f"worker:{worker_id}"), "draining", 1)

    @command
    async def workers(self) -> list[WorkerInfo]:
        """Return the workers that registered, have not ended and had a heartbeat in the last minutes."""
        workers = []
        for worker_id, silent_seconds, job_id, flat in await self._run_script("workers"):
            fields = pair_up(flat)
            workers.append(
                WorkerInfo(
                    id=worker_id,
                    role=fields["role"],
                    host=fields["host"],
                    pid=int(fields["pid"]),
                    device=fields["device"],
                    since=float(fields["since"]),
                    job=job_id,
                    silent_seconds=float(silent_seconds),
                    draining="draining" in fields,
                )
            )
        return workers

    @command
    async def hold(self, process: str, loaded: Iterable[str], dropped: Iterable[str]) -> None:
        """Record what a worker process has loaded now, and what it no longer has: jobs that prefer it go there."""
        for affinity in loaded:
            await self._send("SADD", self.key(f"holders:{affinity}"), process)
            await self._send("EXPIRE", self.key(f"holders:{affinity}"), HOLDER_SECONDS)
        for affinity in dropped:
            await self._send("SREM", self.key(f"holders:{affinity}"), process)

    @command
    async def keep_listening(self, listener: str, seconds: float) -> None:
        """Record that a process listens to its streams for so long; 0: that it has ended."""
        if seconds > 0:
            await self._send("SET", self.key(f"listener:{listener}"), 1, "PX", math.ceil(1000 * seconds))
        else:
            await self._send("DEL", self.key(f"listener:{listener}"))

    # Histories

    @command
    async def publish_event(self, topic: str, kind: str, data: Mapping[str, object]) -> None:
        """Add an event to the history of a job or a topic and wake those who watch it."""
        await self._run_script("publish_event", topic, kind, orjson.dumps(data), TOPIC_SECONDS)

    @command
    async def event_history(self, topic: str, after: str = "0") -> list[Event]:
        """Return the events of a job or a topic after the one with the id `after`, oldest first."""
        events: list[Event] = []
        while True:
            page = await self._send("XRANGE", self.key(f"events:{topic}"), f"({after}", "+", "COUNT", EVENTS_PAGE)
            events += (Event(id_, fields["kind"], orjson.loads(fields["data"])) for id_, fields in page)
            if len(page) < EVENTS_PAGE:
                return events
            after = events[-1].id

    @command
    async def marks(self, ids: Sequence[str]) -> list[str]:
        """Return a text for each job or topic that changes whenever something happens to it."""
        marks: list[str] = []
        for first in range(0, len(ids), MARKS_TOGETHER):
            marks += await self._run_script("poll", *ids[first : first + MARKS_TOGETHER])
        return marks

    @command
    async def history_has_ended(self, topic: str, last: str) -> bool:
        """Return whether the history has a terminal event at `last`, or as the last one before it."""
        entries = await self._send("XREVRANGE", self.key(f"events:{topic}"), last, "-", "COUNT", 1)
        return any(fields["kind"] in TERMINAL_EVENTS for _, fields in entries)
