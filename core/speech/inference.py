"""Inferences: texts that become audio files in the background.

An inference is the job that assembles its utterances. It exists from the start and waits in the queue until the
splitter and the synthesizers are done, so its end is the end of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self, cast

from common.audio_formats import AudioFormat
from common.json_types import JsonObject
from common.sentences import join_sentences
from core.creation import creation_id
from core.errors import Conflict, NotFound, error_message
from core.jobs.file_jobs import FileJobKind, file_job_kind
from core.jobs.job import DEFAULT_PRIORITY, Job, JobStatus
from core.jobs.queue import AsyncQueue
from core.records import Page
from core.speech.inference_jobs import (
    INFERENCE_PREFIX,
    AssembleRequest,
    InferenceAudio,
    InferenceLabels,
    new_inference_jobs,
    split_job_id,
)
from core.speech.requests import SpeechRequest, SplitResult

ASSEMBLY_SHARE: Final = 0.05
"""Of an inference's progress; the rest is synthesis."""


class InferenceStatus(StrEnum):
    """Where an inference or a batch is."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether it has ended."""
        return self not in (InferenceStatus.QUEUED, InferenceStatus.RUNNING)


TERMINAL_STATUSES: Final = {
    JobStatus.DONE: InferenceStatus.COMPLETED,
    JobStatus.DEAD: InferenceStatus.FAILED,
    JobStatus.CANCELLED: InferenceStatus.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Inference:
    """A text that becomes an audio file."""

    job: Job
    request: AssembleRequest
    status: InferenceStatus
    progress: float
    """0 to 1."""
    utterances_done: int
    utterances_total: int | None
    """None until the text is split."""
    started_at: float
    """Seconds since the epoch; 0 means not yet."""

    @classmethod
    def of_jobs(cls, job: Job, split: Job | None) -> Self:
        """Return the inference of an assembly job and its splitter's job, None when that is not needed or unknown."""
        request = AssembleRequest.model_validate(job.payload)
        status = TERMINAL_STATUSES.get(job.status)
        if status is InferenceStatus.COMPLETED:
            count = len(cast(InferenceAudio, job.result or {}).get("utterances", ()))
            return cls(job, request, status, 1.0, count, count, job.started_at)
        total = None
        if split is not None and split.result is not None:
            total = len(cast(SplitResult, split.result)["utterances"])
        done = max(0, total - job.pending_dependencies) if total is not None and status is None else 0
        if status is None:
            split_waits = split is not None and split.status in (JobStatus.WAITING, JobStatus.DELAYED)
            status = InferenceStatus.QUEUED if split_waits and job.pending_dependencies else InferenceStatus.RUNNING
        progress = (1.0 - ASSEMBLY_SHARE) * done / total if total else 0.0
        started_at = split.started_at if split is not None else job.started_at
        return cls(job, request, status, progress, done, total, started_at)

    @property
    def message(self) -> str:
        """What happens now, or how it ended."""
        if self.job.error is not None and self.status is InferenceStatus.FAILED:
            return error_message(self.job.error)
        if self.status is not InferenceStatus.RUNNING:
            return {"queued": "Waits for its turn.", "completed": "The file is ready."}.get(self.status, "Cancelled.")
        if self.utterances_total is None:
            return "The text is being split."
        if self.utterances_done < self.utterances_total:
            return f"Spoke {self.utterances_done} of {self.utterances_total} sentences."
        return "The sentences are put together."

    def require_words(self) -> str:
        """Return the storage key of its words; raise Conflict where there is no result, NotFound for an older one."""
        key = self.require_audio().get("words")
        if key is None:
            raise NotFound(f"The inference {self.job.id} has no timestamps.", hint="Ask for the text again.")
        return key

    def require_audio(self) -> InferenceAudio:
        """Return the result; raise Conflict, which says why, when there is none."""
        return cast(InferenceAudio, require_result(self.job, "The inference"))


class InferenceService:
    """Creates, finds, cancels and replays inferences; the queue holds everything about them."""

    def __init__(self, queue: AsyncQueue) -> None:
        self.queue = queue

    async def create(
        self,
        speech: SpeechRequest,
        audio_format: AudioFormat = "wav",
        *,
        priority: int = DEFAULT_PRIORITY,
        inference_id: str = "",
        delay_seconds: float = 0.0,
        labels: InferenceLabels | None = None,
    ) -> Inference:
        """Enqueue an inference of a checked request; an id that exists already returns that inference."""
        inference_id = inference_id or creation_id(INFERENCE_PREFIX)
        jobs = new_inference_jobs(
            inference_id, speech, audio_format, priority, delay_seconds=delay_seconds, labels=labels
        )
        split, assembly = await self.queue.enqueue_many(jobs)  # both or none
        return Inference.of_jobs(assembly, split)

    async def create_several(
        self, speeches: Sequence[SpeechRequest], *, priority: int = DEFAULT_PRIORITY, labels: InferenceLabels
    ) -> list[Inference]:
        """Enqueue an inference of each of some checked requests, all of them or none."""
        ids = [creation_id(INFERENCE_PREFIX) for _ in speeches]
        new_jobs = [
            job
            for inference_id, speech in zip(ids, speeches, strict=True)
            for job in new_inference_jobs(inference_id, speech, "wav", priority, labels=labels)
        ]
        jobs = await self.queue.enqueue_many(new_jobs)
        return [Inference.of_jobs(assembly, split) for split, assembly in zip(jobs[::2], jobs[1::2], strict=True)]

    async def get(self, inference_id: str) -> Inference:
        """Return an inference.

        Raises:
            NotFound: there is none, or its result has expired.
        """
        (inference,) = await self.find([inference_id])
        if inference is None:
            raise NotFound(
                f"There is no inference {inference_id!r}.", hint="Results are forgotten after RESULT_EXPIRY_SECONDS."
            )
        return inference

    async def find(self, ids: Sequence[str]) -> list[Inference | None]:
        """Return the inferences of these ids, None for those that do not exist."""
        inferences: list[Inference | None] = []
        for inference_id in ids:
            job = await self.queue.job(inference_id)
            if job is None or file_job_kind(job.payload) is not FileJobKind.ASSEMBLE:
                inferences.append(None)
            else:
                split = None if job.status.terminal else await self.queue.job(split_job_id(inference_id))
                inferences.append(Inference.of_jobs(job, split))
        return inferences

    async def page(self, limit: int = 50, offset: int = 0) -> Page[Inference]:
        """Return inferences, newest first, without the items of batches."""
        jobs, total = await self.queue.jobs(INFERENCE_PREFIX, offset, limit)
        inferences = await self.find([job.id for job in jobs])
        return Page([inference for inference in inferences if inference is not None], total)

    async def cancel(self, inference_id: str) -> Inference:
        """Stop an inference; one that has ended stays as it is."""
        inference = await self.get(inference_id)
        if not inference.status.terminal:
            await self.cancel_jobs(inference_id)
        return await self.get(inference_id)

    async def cancel_jobs(self, inference_id: str) -> None:
        """Cancel the jobs of an inference.

        The assembly goes first: a splitter at work sees by it that nobody waits for its utterances.
        """
        await self.queue.cancel(inference_id)
        split_id = split_job_id(inference_id)
        await self.queue.cancel(split_id)
        number = 0
        while await self.queue.cancel(f"{split_id}.{number}") is not None:
            number += 1

    async def replay(self, inference_id: str) -> bool:
        """Run the failed and cancelled jobs of a failed inference again; return False when it has not failed.

        Raises:
            Conflict: a part of it is still stopping.
        """
        job = await self.queue.job(inference_id)
        if job is None or job.status is not JobStatus.DEAD or file_job_kind(job.payload) is not FileJobKind.ASSEMBLE:
            return False
        split = await self.queue.job(split_job_id(inference_id))
        parts = [] if split is None else [split.id]
        if split is not None and split.result is not None:
            parts = [utterance["job_id"] for utterance in cast(SplitResult, split.result)["utterances"]]
        for part_id in parts:
            part = await self.queue.job(part_id)
            if part is not None and part.status is JobStatus.PROCESSING:
                raise Conflict(f"A part of {inference_id} is still being stopped.", hint="Try again in a moment.")
        for part_id in parts:
            await self.queue.replay(part_id, include_cancelled=True)
        return await self.queue.replay(inference_id, depends_on=parts)


def require_result(job: Job, subject: str) -> JsonObject:
    """Return the result of the job of an inference or a batch; `subject` is its name in error messages.

    Raises:
        Conflict: says why there is none.
    """
    if job.status is JobStatus.DONE and job.result is not None:
        return job.result
    status = TERMINAL_STATUSES.get(job.status)
    reason = error_message(job.error) if status is InferenceStatus.FAILED else ""
    state = status or "not ready"
    ended = f"{subject} {job.id} has {status}." if reason else f"{subject} {job.id} is {state}."
    raise Conflict(
        join_sentences(ended, reason),
        hint="" if status else "Ask again when its status is completed, or listen to its progress.",
        details={"job_id": job.id},
    )
