"""What anybody does with jobs: enqueue, look at, cancel, replay and forget them, and read dead letters."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

import orjson
from redis import exceptions

from core.access import current_caller
from core.creation import creation_id
from core.errors import QueueUnavailable
from core.jobs.job import DeadLetter, Job, JobStatus, NewJob
from core.jobs.job_fields import enqueue_arguments, job_from_fields, parse_dead_letter, parse_job, quota_error
from core.jobs.queue_options import OptionedCommands
from core.jobs.transport import AnyTransport, command
from core.logs import current_request

ENQUEUE_BATCH: Final = 100
"""Jobs that one script enqueues: the server does nothing else while a script runs."""
JOBS_PAGE: Final = 500
MEMORY_CHECK_SECONDS: Final = 1.0


class JobCommands(OptionedCommands[AnyTransport]):
    """Commands on jobs, for every caller."""

    _memory_checked_at = float("-inf")
    _memory_used = 0.0

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
        batches = [jobs[first : first + ENQUEUE_BATCH] for first in range(0, len(jobs), ENQUEUE_BATCH)]
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

    # Jobs that exist

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
