"""The error that a failed job means for the request that waited for it."""

from __future__ import annotations

from core.errors import ErrorData, JobCancelled, SovitsError, error_message, find_error_class
from core.jobs.chunk_streams import StreamEnd
from core.jobs.job import Job, JobStatus


class JobFailed(SovitsError):
    """A job failed for a reason that has no error class."""

    code = "job_failed"


def error_from_job(job: Job) -> SovitsError:
    """Return the error of a dead or cancelled job, with the job's id among its details."""
    return _error(job.id, job.status, job.error)


def error_from_end(job_id: str, end: StreamEnd) -> SovitsError:
    """Return the error of a job that ended its stream without being done, with the job's id among its details."""
    return _error(job_id, end.status, end.error)


def _error(job_id: str, status: JobStatus, error: ErrorData | None) -> SovitsError:
    if status is JobStatus.CANCELLED:
        return JobCancelled("The job was cancelled.", details={"job_id": job_id})
    failure = error or ErrorData(code="", message="The job failed.")
    code = failure.get("code", "")
    message, hint = error_message(failure, "The job failed."), failure.get("hint", "")
    details = {**failure.get("details", {}), "job_id": job_id}
    error_class = find_error_class(code)
    # An error of status 500 is the worker's own; it must not look like the caller's.
    if error_class is not None and error_class.status != 500:
        return error_class(message, hint=hint, details=details)
    return JobFailed(message, hint=hint, details={**details, "cause": code})
