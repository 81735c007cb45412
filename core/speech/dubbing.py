"""Subtitles that are spoken: created, found and cancelled; the queue holds everything about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self, cast

from core.creation import creation_id
from core.errors import NotFound, error_message
from core.jobs.file_jobs import FileJobKind, file_job_kind
from core.jobs.job import DEFAULT_PRIORITY, Job
from core.jobs.queue import AsyncQueue
from core.records import Page
from core.speech.dubbing_jobs import (
    DUBBING_PREFIX,
    AssembleDubbingRequest,
    DubbingAudio,
    DubbingOpening,
    DubbingPlan,
    fitting_id,
    new_dubbing_jobs,
    opening_id,
)
from core.speech.inference import TERMINAL_STATUSES, InferenceStatus, require_result

FIRST_SHARE: Final = 0.6
"""Of the progress: that all cues are spoken once."""
SECOND_SHARE: Final = 0.35
"""Of the progress: that those that do not fit are spoken again."""


@dataclass(frozen=True, slots=True)
class Dubbing:
    """Subtitles that become an audio file."""

    job: Job
    request: AssembleDubbingRequest
    status: InferenceStatus
    utterances_done: int
    utterances_total: int | None
    """None until all cues are split; more once some are spoken again."""
    progress: float
    """0 to 1."""

    @classmethod
    def of_jobs(cls, job: Job, opening: Job | None, fitting: Job | None) -> Self:
        """Return the dubbing of its three jobs; the first two are not needed once it has ended."""
        request = AssembleDubbingRequest.model_validate(job.payload)
        status = TERMINAL_STATUSES.get(job.status)
        first, second = _utterances_of(opening), _utterances_of(fitting)
        total = None if first is None else first + (second or 0)
        done = 0
        progress = 1.0 if status is InferenceStatus.COMPLETED else 0.0
        if status is None and first is not None and fitting is not None:
            if second is None:
                done = max(0, first - fitting.pending_dependencies)
                progress = FIRST_SHARE * (done / first if first else 1.0)
            else:
                done = first + max(0, second - job.pending_dependencies)
                progress = FIRST_SHARE + SECOND_SHARE * ((done - first) / second if second else 1.0)
        if status is None:
            begun = opening is not None and opening.started_at
            status = InferenceStatus.RUNNING if begun else InferenceStatus.QUEUED
        return cls(job, request, status, done, total, progress)

    @property
    def message(self) -> str:
        """What happens now, or how it ended."""
        if self.status is InferenceStatus.FAILED:
            return error_message(self.job.error)
        if self.status is not InferenceStatus.RUNNING:
            return {"queued": "Waits for its turn.", "completed": "The file is ready."}.get(self.status, "Cancelled.")
        if self.utterances_total is None:
            return "The cues are being split."
        return f"Spoke {self.utterances_done} of {self.utterances_total} sentences."

    def require_audio(self) -> DubbingAudio:
        """Return the result; raise Conflict, which says why, when there is none."""
        return cast(DubbingAudio, require_result(self.job, "The dubbing"))


class DubbingService:
    """Creates, finds and cancels spoken subtitles."""

    def __init__(self, queue: AsyncQueue) -> None:
        self.queue = queue

    async def create(self, plan: DubbingPlan, *, priority: int = DEFAULT_PRIORITY) -> Dubbing:
        """Enqueue a checked plan."""
        opening, fitting, job = await self.queue.enqueue_many(
            new_dubbing_jobs(creation_id(DUBBING_PREFIX), plan, priority)
        )
        return Dubbing.of_jobs(job, opening, fitting)

    async def get(self, dubbing_id: str) -> Dubbing:
        """Return spoken subtitles.

        Raises:
            NotFound: there are none of this id, or the result has expired.
        """
        job = await self.queue.job(dubbing_id)
        if job is None or file_job_kind(job.payload) is not FileJobKind.ASSEMBLE_DUBBING:
            raise NotFound(
                f"There is no dubbing {dubbing_id!r}.", hint="Results are forgotten after RESULT_EXPIRY_SECONDS."
            )
        if job.status.terminal:
            return Dubbing.of_jobs(job, None, None)
        opening, fitting = await self.queue.job(opening_id(dubbing_id)), await self.queue.job(fitting_id(dubbing_id))
        return Dubbing.of_jobs(job, opening, fitting)

    async def page(self, limit: int = 50, offset: int = 0) -> Page[Dubbing]:
        """Return spoken subtitles, newest first."""
        jobs, total = await self.queue.jobs(DUBBING_PREFIX, offset, limit)
        items = []
        for job in jobs:
            try:
                items.append(await self.get(job.id))
            except NotFound:  # expired meanwhile
                continue
        return Page(items, total)

    async def cancel(self, dubbing_id: str) -> Dubbing:
        """Stop all of it; what has ended stays as it is."""
        dubbing = await self.get(dubbing_id)
        if not dubbing.status.terminal:
            await self.queue.cancel(dubbing_id)
            for part_id in (opening_id(dubbing_id), fitting_id(dubbing_id)):
                await self.queue.cancel(part_id)
                number = 0
                while await self.queue.cancel(f"{part_id}.{number}") is not None:
                    number += 1
        return await self.get(dubbing_id)


def _utterances_of(job: Job | None) -> int | None:
    """Return how many utterances a job has had spoken; None before its end."""
    if job is None or job.result is None:
        return None
    return sum(len(cue["jobs"]) for cue in cast(DubbingOpening, job.result)["cues"] if cue is not None)
