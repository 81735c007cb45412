"""Results that are sent to an address which came with the request: one ZIP, when all is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from core.jobs.job import DEFAULT_PRIORITY
from core.jobs.queue import NewJob
from core.jobs.roles import SPLITTER


class SendRequest(BaseModel):
    """Pack what something left and send it: the payload of a splitter's job."""

    model_config = ConfigDict(frozen=True)

    work: Literal["send_results"] = "send_results"
    of: str
    """A task (its voice is sent), an inference, a batch, or the job of a data set (that version is sent)."""
    url: str


def sending_of(id_: str) -> str:
    """The job that sends what the thing of that id leaves."""
    return f"{id_}.upload"


def sending(of: str, url: str, *, after: Sequence[str] = (), priority: int = DEFAULT_PRIORITY) -> NewJob:
    """That job; it begins when the jobs `after` have ended."""
    return NewJob(SPLITTER, SendRequest(of=of, url=url).model_dump(), sending_of(of), priority, after=after)
