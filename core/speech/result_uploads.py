"""Results that are uploaded to a URL that came with the request: one ZIP, when all is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

from core.jobs.file_jobs import KIND_FIELD, FileJobKind, FileJobPayload
from core.jobs.job import DEFAULT_PRIORITY, NewJob
from core.jobs.roles import FILES


class ResultUploadRequest(FileJobPayload):
    """The payload of a job that packs the results of another one and uploads them."""

    kind: Literal[FileJobKind.SEND_RESULTS] = Field(FileJobKind.SEND_RESULTS, alias=KIND_FIELD)
    of: str
    """A task (its voice is uploaded), an inference, a batch, or the job of a data set (that version is uploaded)."""
    url: str
    token: str = ""
    """For `Authorization: Bearer`, encrypted; empty: none."""


class ResultUpload(TypedDict, total=False):
    """The result of such a job: the response, or the reason why there was nothing to upload."""

    sent: Required[bool]
    reason: str
    status_code: int
    size_bytes: int


def upload_job_id(subject_id: str) -> str:
    """Return the id of the job that uploads the results of a task or job."""
    return f"{subject_id}.upload"


def new_upload_job(
    subject_id: str, url: str, *, token: str = "", depends_on: Sequence[str] = (), priority: int = DEFAULT_PRIORITY
) -> NewJob:
    """Return the job that uploads the results of a task or job, once the jobs `depends_on` have ended."""
    return NewJob(
        role=FILES,
        payload=ResultUploadRequest(of=subject_id, url=url, token=token).stored(),
        job_id=upload_job_id(subject_id),
        priority=priority,
        depends_on=depends_on,
    )
