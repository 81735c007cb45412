"""Jobs and dead letters as their operators see them: listed, cancelled, replayed."""

from __future__ import annotations

from typing import Final

from core.creation import began_earlier_at
from core.errors import Conflict, NotFound
from core.jobs.file_jobs import FileJobKind, file_job_kind
from core.jobs.job import DeadLetter, Job, JobStatus
from core.jobs.queue import AsyncQueue
from core.records import Page
from core.speech.batches import BatchService
from core.speech.inference import InferenceService

PAGE_SIZE: Final = 500


class JobService:
    """Finds, cancels and replays jobs, each with the jobs that belong to it."""

    def __init__(self, queue: AsyncQueue, inference: InferenceService, batches: BatchService) -> None:
        self.queue = queue
        self.inference = inference
        self.batches = batches

    async def get(self, job_id: str) -> Job:
        """Return a job; NotFound for an unknown one."""
        job = await self.queue.job(job_id)
        if job is None:
            raise NotFound(f"No job {job_id!r}.", hint="Jobs that have ended are forgotten after a while.")
        return job

    async def list_jobs(
        self, limit: int, offset: int, *, kind: str, status: JobStatus | None, role: str | None
    ) -> Page[Job]:
        """Return jobs, newest first. `kind` is the prefix of their ids; all jobs are read to filter by the rest."""
        if status is None and role is None:
            return Page(*await self.queue.jobs(kind, offset, limit))
        matches: list[Job] = []
        read, total = 0, 1
        while read < total:
            jobs, total = await self.queue.jobs(kind, read, PAGE_SIZE)
            read += PAGE_SIZE
            matches += [job for job in jobs if status in (None, job.status) and role in (None, job.role)]
        return Page(matches[offset : offset + limit], len(matches))

    async def list_dead_letters(self, limit: int, offset: int) -> Page[DeadLetter]:
        """Return dead letters, newest first."""
        return Page(*await self.queue.page_dead_letters(offset, limit))

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job with its parts, and return it; one that has ended stays as it is."""
        kind = file_job_kind((await self.get(job_id)).payload)
        if kind is FileJobKind.ASSEMBLE:
            await self.inference.cancel(job_id)
        elif kind is FileJobKind.ARCHIVE_BATCH:
            await self.batches.cancel(job_id)
        else:
            await self.queue.cancel(job_id)
        return await self.get(job_id)

    async def replay(self, job_id: str) -> Job:
        """Run a dead job again, of an inference all parts that failed, and return it; Conflict if it is not dead."""
        job = await self.get(job_id)
        replayed = False
        for inference_id in {job_id, job.topic} - {""}:
            # A sentence that failed made its inference fail, which cancelled all that was not synthesized yet.
            replayed = await self.inference.replay(inference_id) or replayed
        repeated = began_earlier_at() is not None and job.status is not JobStatus.DEAD
        if not await self.queue.replay(job_id) and not replayed and not repeated:
            raise Conflict(f"The job {job_id} is {job.status}, not dead.", hint="GET /api/v1/dead-letters lists them.")
        return await self.get(job_id)
