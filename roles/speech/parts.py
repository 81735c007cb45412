"""What the jobs that put speech together have in common: their parts, their files, the records of their voices."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from common.files import sha256_of_file
from core.errors import ErrorData, NotFound, NotReady, SovitsError, error_from_code
from core.jobs.job import Job, JobStatus
from core.jobs.queue import Queue
from core.records import NewProvenance
from core.speech.inference_jobs import StoredFile
from core.speech.requests import UtteranceRequest
from core.speech.utterances import first_of_each_voice
from core.storage import Storage
from roles.runtime.file_job import FileJobRun
from roles.speech.provenance import record_speech


def require_done(jobs: Sequence[Job | None], queue: Queue) -> None:
    """Raise unless all jobs are done: the error of a failed one, after cancelling those that have not ended."""
    failed = [job for job in jobs if job is not None and job.status in (JobStatus.DEAD, JobStatus.CANCELLED)]
    if failed:
        for job in jobs:
            if job is not None and not job.status.terminal:
                queue.cancel(job.id)
        raise error_of_part(next((job for job in failed if job.status is JobStatus.DEAD), failed[0]))
    if any(job is None for job in jobs):
        raise NotFound("Sentences of this text were forgotten before all were spoken.", hint="Ask for it again.")
    if not all(job is not None and job.status is JobStatus.DONE for job in jobs):
        raise NotReady("Some sentences are not spoken yet.")


def error_of_part(job: Job) -> SovitsError:
    """Return the error of a failed or cancelled part as a permanent one: a retry of the whole would not help."""
    if job.status is JobStatus.CANCELLED:
        return error_from_code("cancelled", f"Its part {job.id} was cancelled.", permanent=True)
    failure = job.error or ErrorData(code="internal_error", message="A part of it failed.")
    details = {**failure.get("details", {}), "part": job.id}
    return error_from_code(
        failure["code"], failure["message"], hint=failure.get("hint", ""), details=details, permanent=True
    )


def publish_result(storage: Storage, temporary: Path, key: str) -> StoredFile:
    """Store a finished file and return its size and checksum."""
    stored: StoredFile = {"size_bytes": temporary.stat().st_size, "sha256": sha256_of_file(temporary)}
    storage.publish(temporary, key)
    return stored


def record_voices(
    run: FileJobRun, utterances: Sequence[UtteranceRequest], mark_id: int | None, seconds: float, text: str
) -> None:
    """Record what a job spoke, once for each of its voices."""
    for spoken in first_of_each_voice(utterances):
        record_speech(
            run.services,
            NewProvenance(
                request_id=run.job.id,
                mark_id=mark_id,
                voice_id=spoken.voice_id,
                gpt_checkpoint_id=spoken.gpt_checkpoint_id,
                sovits_checkpoint_id=spoken.sovits_checkpoint_id,
                time=time.time(),
                seconds=seconds,
                text=text,
                owner=run.job.owner or None,
                key_id="",
            ),
        )
