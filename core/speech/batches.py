"""Batches: many texts that become one archive of audio files in the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from core.creation import creation_id
from core.errors import NotFound
from core.jobs.file_jobs import FileJobKind, file_job_kind
from core.jobs.job import DEFAULT_PRIORITY, Job, NewJob
from core.jobs.roles import FILES
from core.records import Page
from core.speech.inference import TERMINAL_STATUSES, Inference, InferenceService, InferenceStatus, require_result
from core.speech.inference_jobs import (
    BATCH_PREFIX,
    ArchiveRequest,
    BatchArchive,
    BatchItem,
    OpenBatchRequest,
    batch_item_id,
    opening_job_id,
)
from core.speech.subtitles import DEFAULT_LINE_CHARACTERS, SubtitleFormat


@dataclass(frozen=True, slots=True)
class InferenceBatch:
    """Texts that become one archive."""

    job: Job
    request: ArchiveRequest
    status: InferenceStatus
    items: tuple[Inference | None, ...] = ()
    """None for one that is not enqueued yet, or has expired. Pages leave them all out."""

    @property
    def items_total(self) -> int:
        """How many items it has."""
        return len(self.request.filenames)

    @property
    def items_done(self) -> int:
        """How many items have ended, well or not."""
        if self.items:
            return sum(item is not None and item.status.terminal for item in self.items)
        return 0 if self.status is InferenceStatus.QUEUED else self.items_total - self.job.pending_dependencies

    @property
    def progress(self) -> float:
        """0 to 1."""
        if self.status is InferenceStatus.COMPLETED:
            return 1.0
        if not self.items:
            return self.items_done / self.items_total
        return sum(1.0 if item.status.terminal else item.progress for item in self.items if item) / self.items_total

    def require_archive(self) -> BatchArchive:
        """Return the result; raise Conflict, which says why, when there is none."""
        return cast(BatchArchive, require_result(self.job, "The batch"))


class BatchService:
    """Creates, finds and cancels batches; the queue holds everything about them."""

    def __init__(self, inferences: InferenceService) -> None:
        self.inferences = inferences
        self.queue = inferences.queue

    async def create(
        self,
        items: Sequence[BatchItem],
        *,
        priority: int = DEFAULT_PRIORITY,
        delay_seconds: float = 0.0,
        subtitles: SubtitleFormat | None = None,
        max_line_characters: int = DEFAULT_LINE_CHARACTERS,
    ) -> InferenceBatch:
        """Enqueue a batch of checked requests with unique file names."""
        batch_id = creation_id(BATCH_PREFIX)
        opening = OpenBatchRequest(batch=batch_id, items=tuple(items))
        archive = ArchiveRequest(
            filenames=tuple(item.filename for item in items),
            subtitles=subtitles,
            max_line_characters=max_line_characters,
        )
        opening_job = NewJob(
            role=FILES,
            payload=opening.stored(),
            job_id=opening_job_id(batch_id),
            priority=priority,
            topic=batch_id,
            delay_seconds=delay_seconds,
            characters=sum(len(item.speech.text) for item in items),
        )
        archive_job = NewJob(
            role=FILES,
            payload=archive.stored(),
            job_id=batch_id,
            priority=priority,
            depends_on=(opening_job.job_id,),
        )
        _, job = await self.queue.enqueue_many([opening_job, archive_job])
        return InferenceBatch(job, archive, InferenceStatus.QUEUED, (None,) * len(items))

    async def get(self, batch_id: str) -> InferenceBatch:
        """Return a batch with its items.

        Raises:
            NotFound: there is none, or its result has expired.
        """
        job = await self._job(batch_id)
        request = ArchiveRequest.model_validate(job.payload)
        ids = [batch_item_id(batch_id, number) for number in range(len(request.filenames))]
        items = await self.inferences.find(ids)
        status = TERMINAL_STATUSES.get(job.status)
        if status is None:
            begun = any(item is not None and item.status is not InferenceStatus.QUEUED for item in items)
            status = InferenceStatus.RUNNING if begun or not job.pending_dependencies else InferenceStatus.QUEUED
        return InferenceBatch(job, request, status, tuple(items))

    async def page(self, limit: int = 50, offset: int = 0) -> Page[InferenceBatch]:
        """Return batches, newest first, without their items."""
        jobs, total = await self.queue.jobs(BATCH_PREFIX, offset, limit)
        batches = []
        for listed in jobs:
            try:
                job = await self._job(listed.id)
            except NotFound:  # expired meanwhile
                continue
            request = ArchiveRequest.model_validate(job.payload)
            # It depends on the one job that enqueues its items, then on every item that has not ended.
            begun = not job.pending_dependencies or 1 < job.pending_dependencies < len(request.filenames)
            open_status = InferenceStatus.RUNNING if begun else InferenceStatus.QUEUED
            batches.append(InferenceBatch(job, request, TERMINAL_STATUSES.get(job.status, open_status)))
        return Page(batches, total)

    async def cancel(self, batch_id: str) -> InferenceBatch:
        """Stop all of a batch; what has ended stays as it is."""
        batch = await self.get(batch_id)
        if not batch.status.terminal:
            await self.queue.cancel(batch_id)
            await self.queue.cancel(opening_job_id(batch_id))
            for number, item in enumerate(batch.items):
                if item is None or not item.status.terminal:
                    await self.inferences.cancel_jobs(batch_item_id(batch_id, number))
        return await self.get(batch_id)

    async def _job(self, batch_id: str) -> Job:
        job = await self.queue.job(batch_id)
        if job is None or file_job_kind(job.payload) is not FileJobKind.ARCHIVE_BATCH:
            raise NotFound(
                f"There is no batch {batch_id!r}.", hint="Results are forgotten after RESULT_EXPIRY_SECONDS."
            )
        return job
