"""Waiting for the end of a job from code that blocks."""

from __future__ import annotations

import time

from core.jobs.job import Job
from core.jobs.queue import Queue


def wait_for_job(queue: Queue, job_id: str, timeout: float) -> Job:
    """Return a job once it is done, dead or cancelled."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        job = queue.job(job_id)
        assert job is not None, f"There is no job {job_id}."
        if job.status.terminal:
            return job
        time.sleep(0.01)
    raise TimeoutError(f"The job {job_id} did not end within {timeout:g} s.")
