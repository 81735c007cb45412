"""Uploads of results to an address that came with a request: a job of its own, which starts when the work is done."""

from __future__ import annotations

from typing import cast

from typing_extensions import TypedDict

from core.jobs.job import DEFAULT_PRIORITY
from core.jobs.queue import AsyncQueue
from core.speech.result_uploads import ResultUpload, new_upload_job, upload_job_id


class ResultUploadState(TypedDict):
    """The state of the job that uploads the results."""

    status: str
    error_message: str | None


async def enqueue_result_upload(
    queue: AsyncQueue, job_id: str, url: str, priority: int = DEFAULT_PRIORITY, *, token: str = ""
) -> None:
    """Have the results of a job uploaded when it has ended; do nothing without a URL. `token` is encrypted."""
    if url:
        upload = new_upload_job(job_id, url, token=token, depends_on=(job_id,), priority=priority)
        await queue.enqueue_many([upload])


async def result_upload_state(queue: AsyncQueue, owner_id: str) -> ResultUploadState | None:
    """Return the state of the upload of a task's or a job's results; None if there is no such upload."""
    job = await queue.job(upload_job_id(owner_id))
    if job is None:
        return None
    result = cast(ResultUpload, job.result or {})
    error = str(job.error.get("message", "")) if job.error else result.get("reason")
    return {"status": job.status, "error_message": error}
