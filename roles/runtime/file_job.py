"""A job of the role `files` as the functions behind its kinds see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from core.jobs.file_jobs import FileJobPayload
from core.jobs.job import Job
from roles.runtime.model_cache import ModelCache
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices

Payload = TypeVar("Payload", bound=FileJobPayload)


@dataclass(frozen=True, slots=True)
class FileJobRun:
    """One run of a file job."""

    context: JobContext
    models: ModelCache = field(default_factory=ModelCache)
    """What stays loaded from one job to the next."""

    @property
    def job(self) -> Job:
        return self.context.job

    @property
    def services(self) -> WorkerServices:
        return self.context.services


@dataclass(frozen=True, slots=True)
class FileJob(Generic[Payload]):
    """What is done for one kind of file job."""

    payload: type[Payload]
    function: Callable[[Payload, FileJobRun], Mapping[str, object]]
    """May be called again for the same job; returns the job's result."""

    def __call__(self, run: FileJobRun) -> dict[str, object]:
        """Validate the payload, do the job and return its result."""
        return dict(self.function(self.payload.model_validate(run.job.payload), run))
