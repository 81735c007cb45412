"""The jobs behind an inference and a batch: one audio file of the utterances, one archive of the audio files."""

from __future__ import annotations

import time
import wave
import zipfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, Literal, cast

import orjson

from common.audio_formats import FILE_EXTENSIONS, MEDIA_TYPES
from common.files import sha256_of_file
from common.storage_keys import inference_folder
from common.zip_files import add_bytes, add_file
from core.errors import ErrorData, InvalidRequest, NotFound, NotReady, PermanentError, SovitsError, error_from_code
from core.jobs.job import Job, JobStatus
from core.jobs.queue import Queue
from core.marks.speech_label import tags_of
from core.marks.speech_marks import SpeechMarks
from core.records import NewProvenance
from core.speech.inference_jobs import (
    ArchiveRequest,
    AssembleRequest,
    BatchArchive,
    BatchEntry,
    BatchOpening,
    InferenceAudio,
    InferenceLabelling,
    OpenBatchRequest,
    StoredFile,
    batch_item_id,
    new_inference_jobs,
    split_job_id,
)
from core.speech.requests import SplitResult, UtteranceRequest, UtteranceResult
from core.speech.subtitles import TimedUtterance, subtitles
from core.speech.verification import summarize_verification, verification_of
from core.speech.words import WordTiming, delayed
from core.storage import Storage
from roles.runtime.file_job import FileJobRun
from roles.speech.provenance import record_speech
from roles.speech.speech_file import SpeechFile

BLOCK_FRAMES: Final = 1 << 16
ENQUEUED_TOGETHER: Final = 40
"""Inferences enqueued by one call, each with both of its jobs."""
MANIFEST: Final = "manifest.json"


def assemble(request: AssembleRequest, run: FileJobRun) -> InferenceAudio:
    """Join and encode the utterances of an inference; an item of a batch also reports its end to the batch.

    Raises the error of an utterance that failed; the ones that still wait are cancelled.
    """
    try:
        result = _assemble(request, run)
    except PermanentError:
        if run.job.topic:
            run.context.event("item", {"id": run.job.id, "status": "failed"})
        raise
    if run.job.topic:
        run.context.event("item", {"id": run.job.id, "status": "completed"})
    return result


def open_batch(request: OpenBatchRequest, run: FileJobRun) -> BatchOpening:
    """Enqueue the items of a batch and make its archive depend on them. Repeating it changes nothing."""
    queue = run.services.queue
    item_ids = [batch_item_id(request.batch, number) for number in range(len(request.items))]
    pairs = [
        new_inference_jobs(item_id, item.speech, item.format, run.job.priority, batch=request.batch)
        for item_id, item in zip(item_ids, request.items, strict=True)
    ]
    for first in range(0, len(pairs), ENQUEUED_TOGETHER):
        run.context.check()
        queue.enqueue_many([job for pair in pairs[first : first + ENQUEUED_TOGETHER] for job in pair])
    if not queue.add_dependencies(request.batch, item_ids):  # the batch was cancelled meanwhile
        for item_id in item_ids:
            queue.cancel(item_id)
            queue.cancel(split_job_id(item_id))
    return {"items": len(item_ids)}


def archive_batch(request: ArchiveRequest, run: FileJobRun) -> BatchArchive:
    """Put the audio files of a batch into one ZIP; its manifest also names the items that failed, with their errors."""
    storage = run.services.storage
    entries: list[BatchEntry] = []
    with storage.temporary_file() as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            for number, filename in enumerate(request.filenames):
                run.context.progress(number / len(request.filenames), "Putting the files into one archive.")
                item_id = batch_item_id(run.job.id, number)
                item = run.services.queue.job(item_id)
                entry: BatchEntry
                if item is not None and item.status is JobStatus.DONE and item.result is not None:
                    audio = cast(InferenceAudio, item.result)
                    add_file(archive, filename, storage.path(audio["audio"]))
                    if request.subtitles is not None and "words" in audio:
                        spoken = orjson.loads(storage.path(audio["words"]).read_bytes())
                        content = subtitles(spoken, request.subtitles, request.max_line_characters)
                        stem = filename.rpartition(".")[0]
                        is_unique = sum(name.rpartition(".")[0] == stem for name in request.filenames) == 1
                        add_bytes(archive, f"{stem if is_unique else filename}.{request.subtitles}", content)
                    entry = {"id": item_id, "filename": filename, "status": "completed", "error": None}
                    entry |= {"seconds": audio["seconds"], "sha256": audio["sha256"]}
                    if label := audio.get("aigc"):
                        entry["aigc"] = orjson.loads(label)
                    if "verification" in audio:
                        entry["verification"] = audio["verification"]
                else:
                    forgotten = NotFound("It was forgotten before the batch was done.")
                    error = _error_of_part(item) if item is not None else forgotten
                    cancelled = item is not None and item.status is JobStatus.CANCELLED
                    status: Literal["cancelled", "failed"] = "cancelled" if cancelled else "failed"
                    entry = {"id": item_id, "filename": None, "status": status, "error": error.as_dict()}
                entries.append(entry)
            manifest = orjson.dumps({"batch": run.job.id, "items": entries}, option=orjson.OPT_INDENT_2)
            add_bytes(archive, MANIFEST, manifest)
        # Under the token of the lease: a worker that lost it, and goes on after that, overwrites nothing.
        key = f"{inference_folder(run.job.id)}/{run.job.id}.{run.context.lease.token}.zip"
        stored = _publish(storage, temporary, key)
    completed = sum(entry["error"] is None for entry in entries)
    return {"archive": key, "completed": completed, "failed": len(entries) - completed, "items": entries, **stored}


def _assemble(request: AssembleRequest, run: FileJobRun) -> InferenceAudio:
    storage = run.services.storage
    jobs = _utterance_jobs(request.split, run.services.queue)
    utterances = [cast(UtteranceResult, job.result) for job in jobs]
    rate = utterances[0]["sample_rate"]
    output_rate = request.sample_rate or rate
    marks = SpeechMarks(run.services.settings)
    marker = marks.begin(_first_utterance(jobs), run.job.id, rate)
    spoken: list[TimedUtterance] = []
    pause_seconds = 0.0
    with storage.temporary_file() as temporary:
        with temporary.open("w+b") as file:
            output = SpeechFile(file, request.format, rate, output_rate, tags_of(marker.label))
            opening = marker.opening()
            output.write(opening)
            frames = len(opening) // 2
            for utterance in utterances:
                run.context.check()
                silence = bytes(2 * round(pause_seconds * rate))
                start = frames + len(silence) // 2
                with closing(wave.open(str(storage.path(utterance["audio"])), "rb")) as source:
                    if source.getframerate() != rate:
                        raise SovitsError(f"The sentences have different rates: {rate} and {source.getframerate()}.")
                    for samples in chain((silence,), iter(partial(source.readframes, BLOCK_FRAMES), b"")):
                        output.write(marker.feed(samples))
                        frames += len(samples) // 2
                words = delayed(cast(list[WordTiming], utterance.get("words", [])), start / rate)
                timing = {"text": utterance["text"], "start": start / rate, "seconds": (frames - start) / rate}
                spoken.append(cast(TimedUtterance, {**timing, "words": words}))
                pause_seconds = utterance.get("pause_seconds", 0.0)
            output.finish()
        marks.finish_file(temporary, request.format, marker.label)
        key = f"{inference_folder(run.job.id)}/speech.{run.context.lease.token}.{FILE_EXTENSIONS[request.format]}"
        stored = _publish(storage, temporary, key)
    words_key = f"{inference_folder(run.job.id)}/words.{run.context.lease.token}.json"
    with storage.temporary_file() as temporary:
        temporary.write_bytes(orjson.dumps(spoken))
        storage.publish(temporary, words_key)
    _record(request, run, _first_utterance(jobs), marker.mark_id, frames / rate)
    labelled: InferenceLabelling = {} if marker.label is None else {"aigc": marker.label.text}
    return {
        "audio": key,
        "format": request.format,
        "media_type": MEDIA_TYPES[request.format],
        "sample_rate": output_rate,
        "seconds": frames / rate,
        "utterances": [
            {
                "text": utterance["text"],
                "start": utterance["start"],
                "seconds": utterance["seconds"],
                **verification_of(result),
            }
            for utterance, result in zip(spoken, utterances, strict=True)
        ],
        "words": words_key,
        "verification": summarize_verification(utterances),
        **stored,
        **labelled,
    }


def _record(
    request: AssembleRequest, run: FileJobRun, first: UtteranceRequest, mark_id: int | None, seconds: float
) -> None:
    """Record what the inference spoke."""
    split = run.services.queue.job(request.split)
    text = str(split.payload.get("text", "")) if split is not None else request.text
    record_speech(
        run.services,
        NewProvenance(
            request_id=run.job.id,
            mark_id=mark_id,
            voice_id=first.voice_id,
            gpt_checkpoint_id=first.gpt_checkpoint_id,
            sovits_checkpoint_id=first.sovits_checkpoint_id,
            time=time.time(),
            seconds=seconds,
            text=text,
            owner=run.job.owner or None,
            key_id="",
        ),
    )


def _first_utterance(jobs: Sequence[Job]) -> UtteranceRequest:
    """Return the first utterance of the text, before which a notice may be spoken."""
    requests = (UtteranceRequest.model_validate(job.payload) for job in jobs)
    return next(request for request in requests if not request.notice)


def _utterance_jobs(split_id: str, queue: Queue) -> list[Job]:
    """Return the jobs of the utterances in order; raise when the text was not split or not all are spoken."""
    split = queue.job(split_id)
    _require_done([split], queue)
    utterances = cast(SplitResult, split.result if split else None)["utterances"]
    if not utterances:
        raise InvalidRequest("The text holds nothing to say.")
    jobs = [queue.job(utterance["job_id"]) for utterance in utterances]
    _require_done(jobs, queue)
    return [job for job in jobs if job is not None]


def _require_done(jobs: Sequence[Job | None], queue: Queue) -> None:
    """Raise unless all jobs are done: the error of a failed one, after cancelling those that have not ended."""
    failed = [job for job in jobs if job is not None and job.status in (JobStatus.DEAD, JobStatus.CANCELLED)]
    if failed:
        for job in jobs:
            if job is not None and not job.status.terminal:
                queue.cancel(job.id)
        raise _error_of_part(next((job for job in failed if job.status is JobStatus.DEAD), failed[0]))
    if any(job is None for job in jobs):
        raise NotFound("Sentences of this text were forgotten before all were spoken.", hint="Ask for it again.")
    if not all(job is not None and job.status is JobStatus.DONE for job in jobs):
        raise NotReady("Some sentences are not spoken yet.")


def _error_of_part(job: Job) -> SovitsError:
    """Return the error of a failed or cancelled part as a permanent one: a retry of the whole would not help."""
    if job.status is JobStatus.CANCELLED:
        return error_from_code("cancelled", f"Its part {job.id} was cancelled.", permanent=True)
    failure = job.error or ErrorData(code="internal_error", message="A part of it failed.")
    details = {**failure.get("details", {}), "part": job.id}
    return error_from_code(
        failure["code"], failure["message"], hint=failure.get("hint", ""), details=details, permanent=True
    )


def _publish(storage: Storage, temporary: Path, key: str) -> StoredFile:
    stored: StoredFile = {"size_bytes": temporary.stat().st_size, "sha256": sha256_of_file(temporary)}
    storage.publish(temporary, key)
    return stored
