"""File jobs whose result a request waits for."""

from __future__ import annotations

import asyncio
from typing import Final

from api.services.job_errors import error_from_job
from core.errors import NotReady, TimedOut
from core.ids import new_id
from core.jobs.events import Events
from core.jobs.file_jobs import FileJobPayload
from core.jobs.job import Job, JobStatus, NewJob
from core.jobs.queue import AsyncQueue
from core.jobs.roles import FILES

PRIORITY: Final = 7
"""Somebody waits for the response."""


class WaitedJobs:
    """Runs file jobs while their callers wait."""

    def __init__(self, queue: AsyncQueue, events: Events) -> None:
        self._queue = queue
        self._events = events

    async def run(self, payload: FileJobPayload, prefix: str, seconds: float) -> Job:
        """Run a job under an id with this prefix, and return it once it is done.

        It is cancelled where nobody waits any more. Raises its error, TimedOut after so many seconds, or NotReady where
        no worker would take it.
        """
        workers = await self._queue.workers()
        if not any(worker.role == FILES and not worker.draining for worker in workers):
            raise NotReady(
                "No worker for files is running.", hint="Start the service's workers, or wait until they are up."
            )
        job_id = new_id(prefix)
        ended = False
        try:
            await self._queue.enqueue(NewJob(FILES, payload.stored(), job_id=job_id, priority=PRIORITY))
            job = await self._events.wait(job_id, seconds)
            ended = True
        except TimedOut:
            raise TimedOut(f"The recording was not examined within {seconds:g} s.", hint="Try again later.") from None
        finally:
            if not ended:
                await asyncio.shield(self._queue.cancel(job_id))
        if job.status is not JobStatus.DONE or job.result is None:
            raise error_from_job(job)
        return job
