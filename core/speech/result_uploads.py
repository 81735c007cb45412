"""Results that are sent to an address which came with the request: one ZIP, when all is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

from core.jobs.file_jobs import KIND_FIELD, FileJobKind, FileJobPayload
from core.jobs.job import DEFAULT_PRIORITY, NewJob
from core.jobs.roles import FILES


class SendRequest(FileJobPayload):
    """The payload of a job that packs the results of another one and sends them."""

    kind: Literal[FileJobKind.SEND_RESULTS] = Field(FileJobKind.SEND_RESULTS, alias=KIND_FIELD)
    of: str
    """A task (its voice is sent), an inference, a batch, or the job of a data set (that version is sent)."""
    url: str


class SentResults(TypedDict, total=False):
    """The result of such a job: what the address answered, or the reason why there was nothing to send."""

    sent: Required[bool]
    reason: str
    status_code: int
    size_bytes: int


def sending_of(id_: str) -> str:
    """The job that sends what the thing of that id leaves."""
    return f"{id_}.upload"


def sending(of: str, url: str, *, after: Sequence[str] = (), priority: int = DEFAULT_PRIORITY) -> NewJob:
    """That job; it begins when the jobs `after` have ended."""
    return NewJob(
        FILES, SendRequest(of=of, url=url).stored(), job_id=sending_of(of), priority=priority, depends_on=after
    )
