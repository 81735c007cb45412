"""What the splitter does after the speaking: one file of an inference's utterances, one archive of a batch's files."""

from __future__ import annotations

import hashlib
import wave
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import orjson

from core.errors import InvalidRequest, NotFound, NotReady, PermanentError, SovitsError
from core.jobs.job import Job, JobStatus
from core.media.encode import MIME_TYPES, Encoder, wav_header
from core.speech.inference_jobs import (
    ArchiveRequest,
    AssembleRequest,
    OpenBatchRequest,
    ending_of,
    folder_of,
    item_of,
    jobs_of,
    split_of,
)
from roles.runtime.errors import from_code
from roles.runtime.role import JobContext
from roles.runtime.services import Services
from roles.speech.upload_results import send_results

BLOCK_FRAMES: Final = 1 << 16
PAIRS: Final = 40
"""Inferences enqueued by one call; the two jobs of one must not be parted."""
MANIFEST: Final = "manifest.json"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The oldest time that an archive can hold; equal content gives equal bytes."""


def assemble(job: Job, context: JobContext) -> dict[str, Any]:
    """Put the utterances of an inference together and encode them; the first failed one fails the whole."""
    try:
        made = _assemble(job, AssembleRequest.model_validate(job.payload), context)
    except PermanentError:
        _tell_batch(job, context, "failed")
        raise
    _tell_batch(job, context, "completed")
    return made


def _assemble(job: Job, request: AssembleRequest, context: JobContext) -> dict[str, Any]:
    pieces = _pieces(request, context)
    temporary = context.services.storage.new_temporary()
    try:
        rate, frames, spoken = _write(pieces, request.format, temporary, context)
        key = f"{folder_of(job.id)}/speech.{ending_of(request.format)}"
        kept = _keep(context.services, temporary, key)
    finally:
        temporary.unlink(missing_ok=True)
    return {
        "audio": key,
        "format": request.format,
        "media_type": MIME_TYPES[request.format],
        "sample_rate": rate,
        "seconds": frames / rate,
        "utterances": spoken,
        **kept,
    }


def open_batch(job: Job, context: JobContext) -> dict[str, Any]:
    """Enqueue the items of a batch, and let its archive wait for them. Harmless when repeated."""
    request = OpenBatchRequest.model_validate(job.payload)
    queue = context.services.queue
    ids = [item_of(request.batch, number) for number in range(len(request.items))]
    pairs = [
        jobs_of(item_id, item.speech, item.format, job.priority, batch=request.batch)
        for item_id, item in zip(ids, request.items, strict=True)
    ]
    for first in range(0, len(pairs), PAIRS):
        context.check()
        queue.enqueue_many([new for pair in pairs[first : first + PAIRS] for new in pair])
    if not queue.wait_also(request.batch, ids):  # cancelled meanwhile
        for item_id in ids:
            queue.cancel(item_id)
            queue.cancel(split_of(item_id))
    return {"items": len(ids)}


def archive_batch(job: Job, context: JobContext) -> dict[str, Any]:
    """One ZIP of the files that were made; its manifest names those that were not."""
    request = ArchiveRequest.model_validate(job.payload)
    services = context.services
    temporary = services.storage.new_temporary()
    entries = []
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            for number, filename in enumerate(request.filenames):
                context.progress(number / len(request.filenames), "Putting the files into one archive.")
                entries.append(_add(archive, services, item_of(job.id, number), filename))
            manifest = orjson.dumps({"batch": job.id, "items": entries}, option=orjson.OPT_INDENT_2)
            archive.writestr(zipfile.ZipInfo(MANIFEST, _EPOCH), manifest)
        key = f"{folder_of(job.id)}/{job.id}.zip"
        kept = _keep(services, temporary, key)
    finally:
        temporary.unlink(missing_ok=True)
    completed = sum(entry["error"] is None for entry in entries)
    return {"archive": key, "completed": completed, "failed": len(entries) - completed, "items": entries, **kept}


def _tell_batch(job: Job, context: JobContext, status: str) -> None:
    if job.topic:
        context.event("item", {"id": job.id, "status": status})


WORKS: Final[dict[str, Callable[[Job, JobContext], dict[str, Any]]]] = {
    "assemble": assemble,
    "open_batch": open_batch,
    "archive_batch": archive_batch,
    "send_results": send_results,
}
"""What a payload calls its `work` → what the splitter does; a payload without one is a text to split."""


def _pieces(request: AssembleRequest, context: JobContext) -> list[dict[str, Any]]:
    """The results of the utterances in order. When one failed, those that still wait are cancelled."""
    queue = context.services.queue
    split = queue.job(request.split)
    _check([split], context)
    assert split is not None
    assert split.result is not None
    if not split.result["utterances"]:
        raise InvalidRequest("The text holds nothing to say.")
    children = [queue.job(one["job_id"]) for one in split.result["utterances"]]
    _check(children, context)
    return [child.result for child in children if child is not None and child.result is not None]


def _check(parts: list[Job | None], context: JobContext) -> None:
    failed = [job for job in parts if job is not None and job.status in (JobStatus.DEAD, JobStatus.CANCELLED)]
    for job in parts:
        if failed and job is not None and not job.status.terminal:
            context.services.queue.cancel(job.id)
    if failed:
        raise _why(next((job for job in failed if job.status is JobStatus.DEAD), failed[0]))
    if any(job is None for job in parts):
        raise NotFound("Sentences of this text were forgotten before all were spoken.", hint="Ask for it again.")
    if not all(job is not None and job.status is JobStatus.DONE for job in parts):
        raise NotReady("Some sentences are not spoken yet.")


def _why(job: Job) -> SovitsError:
    """The error of the part, as one that a retry of the whole would not mend."""
    if job.status is JobStatus.CANCELLED:
        return from_code("cancelled", f"Its part {job.id} was cancelled.", "", permanent=True)
    told = job.error or {}
    message, hint = str(told.get("message", "A part of it failed.")), str(told.get("hint", ""))
    error = from_code(str(told.get("code", "internal_error")), message, hint, permanent=True)
    error.details = {**told.get("details", {}), "part": job.id}
    return error


def _write(
    pieces: list[dict[str, Any]], format: str, path: Path, context: JobContext
) -> tuple[int, int, list[dict[str, Any]]]:
    """Samples of all pieces, with the pauses between them, into one file; its rate, its length, what begins where."""
    rate = int(pieces[0]["sample_rate"])
    encoder = Encoder(format, rate) if format != "wav" else None
    spoken, frames, pause = [], 0, 0.0
    with path.open("wb") as file:
        if encoder is None:
            file.write(wav_header(rate, 0))
        for piece in pieces:
            context.check()
            silence = bytes(2 * round(pause * rate))
            start = frames + len(silence) // 2
            for block in (silence, *_blocks(context.services.storage.path(piece["audio"]), rate)):
                file.write(block if encoder is None else encoder.feed(block))
                frames += len(block) // 2
            spoken.append({"text": piece["text"], "start": start / rate, "seconds": (frames - start) / rate})
            pause = float(piece.get("pause_seconds", 0.0))
        if encoder is not None:
            file.write(encoder.finish())
        else:
            file.seek(0)
            file.write(wav_header(rate, 2 * frames))
    return rate, frames, spoken


def _blocks(path: Path, rate: int) -> Iterator[bytes]:
    with closing(wave.open(str(path), "rb")) as file:
        if file.getframerate() != rate:
            raise SovitsError(f"The sentences have different rates: {rate} and {file.getframerate()}.")
        while block := file.readframes(BLOCK_FRAMES):
            yield block


def _add(archive: zipfile.ZipFile, services: Services, item_id: str, filename: str) -> dict[str, Any]:
    """Put one item's file into the archive; the manifest's entry of it."""
    entry: dict[str, Any] = {"id": item_id, "filename": filename, "status": "completed", "error": None}
    job = services.queue.job(item_id)
    if job is None or job.status is not JobStatus.DONE or job.result is None:
        error = _why(job) if job is not None else NotFound("It was forgotten before the batch was done.")
        status = "cancelled" if job is not None and job.status is JobStatus.CANCELLED else "failed"
        return {**entry, "filename": None, "status": status, "error": error.as_dict()}
    info = zipfile.ZipInfo(filename, _EPOCH)
    source = services.storage.path(job.result["audio"])
    info.file_size = source.stat().st_size
    with source.open("rb") as sound, archive.open(info, "w") as target:
        while block := sound.read(1 << 20):
            target.write(block)
    return {**entry, "seconds": job.result["seconds"], "sha256": job.result["sha256"]}


def _keep(services: Services, temporary: Path, key: str) -> dict[str, Any]:
    with temporary.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = temporary.stat().st_size
    services.storage.publish(temporary, key)
    return {"size_bytes": size, "sha256": digest}
