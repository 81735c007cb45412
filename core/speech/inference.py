"""Speech that nobody waits for: a text becomes one file, a batch of texts one archive.

An inference is the job that puts its utterances together. It is there from the start and waits in the queue until the
splitter and the synthesizers have done their part, so its end is the end of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from core.errors import Conflict, NotFound, error_message
from core.ids import new_id
from core.jobs.file_jobs import FileJobKind, file_job_kind
from core.jobs.job import DEFAULT_PRIORITY, Job, JobStatus, NewJob
from core.jobs.queue import AsyncQueue
from core.jobs.roles import FILES
from core.records import Page
from core.speech.inference_jobs import (
    BATCH,
    INFERENCE,
    MAX_ITEMS,
    ArchiveRequest,
    AssembleRequest,
    BatchItem,
    Format,
    OpenBatchRequest,
    ending_of,
    folder_of,
    item_of,
    jobs_of,
    split_of,
)
from core.speech.requests import SpeechRequest

__all__ = [
    "BATCH",
    "INFERENCE",
    "MAX_ITEMS",
    "Batch",
    "BatchItem",
    "Format",
    "Inference",
    "InferenceService",
    "InferenceStatus",
    "ending_of",
    "finished",
    "folder_of",
    "item_of",
]


class InferenceStatus(StrEnum):
    """Where an inference or a batch is."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self not in (InferenceStatus.QUEUED, InferenceStatus.RUNNING)


ENDED: Final = {
    JobStatus.DONE: InferenceStatus.COMPLETED,
    JobStatus.DEAD: InferenceStatus.FAILED,
    JobStatus.CANCELLED: InferenceStatus.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Inference:
    """A text on its way to a file."""

    job: Job
    request: AssembleRequest
    status: InferenceStatus
    progress: float
    """0 to 1."""
    spoken: int
    """Utterances that are ready."""
    utterances: int | None
    """None until the text is split."""
    started_at: float
    """Seconds since the epoch; 0 means not yet."""

    @property
    def message(self) -> str:
        """What happens now, or how it ended."""
        if self.job.error is not None and self.status is InferenceStatus.FAILED:
            return error_message(self.job.error)
        if self.status is not InferenceStatus.RUNNING:
            return {"queued": "Waits for its turn.", "completed": "The file is ready."}.get(self.status, "Cancelled.")
        if self.utterances is None:
            return "The text is being split."
        if self.spoken < self.utterances:
            return f"Spoke {self.spoken} of {self.utterances} sentences."
        return "The sentences are put together."


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts on their way to one archive."""

    job: Job
    request: ArchiveRequest
    status: InferenceStatus
    items: tuple[Inference | None, ...] = ()
    """None for one that is not enqueued yet, or forgotten; in lists there are none."""

    @property
    def total(self) -> int:
        return len(self.request.filenames)

    @property
    def done(self) -> int:
        """Items that have ended, well or not."""
        if self.items:
            return sum(item is not None and item.status.terminal for item in self.items)
        return 0 if self.status is InferenceStatus.QUEUED else self.total - self.job.pending_dependencies

    @property
    def progress(self) -> float:
        if self.status is InferenceStatus.COMPLETED:
            return 1.0
        if not self.items:
            return self.done / self.total
        return sum(1.0 if item.status.terminal else item.progress for item in self.items if item) / self.total


class InferenceService:
    """Begins, finds and cancels inferences and batches; everything about them is in the queue."""

    def __init__(self, queue: AsyncQueue) -> None:
        self.queue = queue

    async def create(
        self,
        speech: SpeechRequest,
        format: Format = "wav",
        *,
        priority: int = DEFAULT_PRIORITY,
        inference_id: str = "",
        delay_seconds: float = 0.0,
    ) -> Inference:
        """Begin one; `SpeechService.request` checked it before. The same id again gives what is there."""
        inference_id = inference_id or new_id(INFERENCE)
        split, assembly = jobs_of(inference_id, speech, format, priority, delay_seconds=delay_seconds)
        # In one call, so that neither is ever there without the other.
        begun, job = await self.queue.enqueue_many([split, assembly])
        return _inference(job, begun)

    async def get(self, inference_id: str) -> Inference:
        """NotFound when there is none, or when its result was forgotten."""
        (found,) = await self._find([inference_id])
        if found is None:
            raise NotFound(
                f"There is no inference {inference_id!r}.", hint="Results are forgotten after RESULT_EXPIRY_SECONDS."
            )
        return found

    async def list_inferences(self, limit: int = 50, offset: int = 0) -> Page[Inference]:
        """Newest first; the items of batches are not among them."""
        jobs, total = await self.queue.jobs(INFERENCE, offset, limit)
        found = await self._find([job.id for job in jobs])
        return Page([one for one in found if one is not None], total)

    async def cancel(self, inference_id: str) -> Inference:
        """Stop it; one that has ended stays as it is."""
        found = await self.get(inference_id)
        if not found.status.terminal:
            await self._cancel(inference_id)
        return await self.get(inference_id)

    async def replay(self, inference_id: str) -> bool:
        """Speak again what failed or was cancelled of a failed one; False when it has not failed.

        Conflict while some of it is still being stopped.
        """
        job = await self.queue.job(inference_id)
        if job is None or job.status is not JobStatus.DEAD or file_job_kind(job.payload) is not FileJobKind.ASSEMBLE:
            return False
        split = await self.queue.job(split_of(inference_id))
        parts = [] if split is None else [split.id]
        if split is not None and split.result is not None:
            parts = [str(one["job_id"]) for one in split.result["utterances"]]
        for part in parts:
            found = await self.queue.job(part)
            if found is not None and found.status is JobStatus.PROCESSING:
                raise Conflict(f"A part of {inference_id} is still being stopped.", hint="Try again in a moment.")
        for part in parts:
            await self.queue.replay(part, include_cancelled=True)
        return await self.queue.replay(inference_id, depends_on=parts)

    # Batches

    async def create_batch(
        self, items: Sequence[BatchItem], *, priority: int = DEFAULT_PRIORITY, delay_seconds: float = 0.0
    ) -> Batch:
        """Begin a batch; file names are unique and every request was checked before."""
        batch_id = new_id(BATCH)
        opening = OpenBatchRequest(batch=batch_id, items=tuple(items))
        archive = ArchiveRequest(filenames=tuple(item.filename for item in items))
        opener = f"{batch_id}.open"
        _, job = await self.queue.enqueue_many(
            [
                NewJob(
                    FILES,
                    opening.stored(),
                    job_id=opener,
                    priority=priority,
                    topic=batch_id,
                    delay_seconds=delay_seconds,
                ),
                NewJob(FILES, archive.stored(), job_id=batch_id, priority=priority, depends_on=(opener,)),
            ]
        )
        return Batch(job, archive, InferenceStatus.QUEUED, (None,) * len(items))

    async def get_batch(self, batch_id: str) -> Batch:
        job = await self._batch_job(batch_id)
        request = ArchiveRequest.model_validate(job.payload)
        items = await self._find([item_of(batch_id, number) for number in range(len(request.filenames))])
        status = ENDED.get(job.status)
        if status is None:
            begun = any(item is not None and item.status is not InferenceStatus.QUEUED for item in items)
            status = InferenceStatus.RUNNING if begun or not job.pending_dependencies else InferenceStatus.QUEUED
        return Batch(job, request, status, tuple(items))

    async def list_batches(self, limit: int = 50, offset: int = 0) -> Page[Batch]:
        """Newest first, without their items."""
        jobs, total = await self.queue.jobs(BATCH, offset, limit)
        found = []
        for listed in jobs:
            try:
                job = await self._batch_job(listed.id)
            except NotFound:  # forgotten meanwhile
                continue
            request = ArchiveRequest.model_validate(job.payload)
            # It awaits the one job that enqueues its items, then every item that has not ended.
            begun = not job.pending_dependencies or 1 < job.pending_dependencies < len(request.filenames)
            open_status = InferenceStatus.RUNNING if begun else InferenceStatus.QUEUED
            found.append(Batch(job, request, ENDED.get(job.status, open_status)))
        return Page(found, total)

    async def cancel_batch(self, batch_id: str) -> Batch:
        """Stop all of it; what has ended stays as it is."""
        batch = await self.get_batch(batch_id)
        if not batch.status.terminal:
            await self.queue.cancel(batch_id)
            await self.queue.cancel(f"{batch_id}.open")
            for number, item in enumerate(batch.items):
                if item is None or not item.status.terminal:
                    await self._cancel(item_of(batch_id, number))
        return await self.get_batch(batch_id)

    async def _batch_job(self, batch_id: str) -> Job:
        job = await self.queue.job(batch_id)
        if job is None or file_job_kind(job.payload) is not FileJobKind.ARCHIVE_BATCH:
            raise NotFound(
                f"There is no batch {batch_id!r}.", hint="Results are forgotten after RESULT_EXPIRY_SECONDS."
            )
        return job

    async def _find(self, ids: Sequence[str]) -> list[Inference | None]:
        found: list[Inference | None] = []
        for inference_id in ids:
            job = await self.queue.job(inference_id)
            if job is None or file_job_kind(job.payload) is not FileJobKind.ASSEMBLE:
                found.append(None)
            else:
                split = None if job.status.terminal else await self.queue.job(split_of(inference_id))
                found.append(_inference(job, split))
        return found

    async def _cancel(self, inference_id: str) -> None:
        """The whole first: a splitter that is still at work learns from it that nobody waits for its utterances."""
        await self.queue.cancel(inference_id)
        split = split_of(inference_id)
        await self.queue.cancel(split)
        number = 0
        while await self.queue.cancel(f"{split}.{number}") is not None:
            number += 1


def finished(job: Job, what: str) -> dict[str, Any]:
    """The result of an inference's or a batch's job; Conflict says why there is none."""
    if job.status is JobStatus.DONE and job.result is not None:
        return job.result
    status = ENDED.get(job.status)
    reason = error_message(job.error) if status is InferenceStatus.FAILED else ""
    raise Conflict(
        f"{what} {job.id} " + (f"has {status}. {reason}".rstrip() if reason else f"is {status or 'not ready'}."),
        hint="" if status else "Ask again when its status is completed, or listen to its progress.",
        details={"job_id": job.id},
    )


def _inference(job: Job, split: Job | None) -> Inference:
    request = AssembleRequest.model_validate(job.payload)
    status = ENDED.get(job.status)
    done = job.result or {}
    if status is InferenceStatus.COMPLETED:
        count = len(done.get("utterances", ()))
        return Inference(job, request, status, 1.0, count, count, job.started_at)
    count_split = len(split.result["utterances"]) if split is not None and split.result is not None else None
    spoken = max(0, count_split - job.pending_dependencies) if count_split is not None and status is None else 0
    if status is None:
        waits = split is not None and split.status in (JobStatus.WAITING, JobStatus.DELAYED)
        status = InferenceStatus.QUEUED if waits and job.pending_dependencies else InferenceStatus.RUNNING
    progress = 0.95 * spoken / count_split if count_split else 0.0
    started_at = split.started_at if split is not None else job.started_at
    return Inference(job, request, status, progress, spoken, count_split, started_at)
