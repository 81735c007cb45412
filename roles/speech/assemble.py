"""The jobs behind an inference and a batch: one audio file of the utterances, one archive of the audio files."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from typing import Final, Literal, cast

import orjson

from common.audio_formats import FILE_EXTENSIONS, MEDIA_TYPES
from common.storage_keys import inference_folder
from common.zip_files import add_bytes, add_file
from core.errors import InvalidRequest, NotFound, PermanentError
from core.jobs.job import Job, JobStatus
from core.jobs.queue import Queue
from core.marks.speech_label import tags_of
from core.marks.speech_marks import SpeechMarks
from core.media.leveling import LevelSettings
from core.speech.inference_jobs import (
    ArchiveRequest,
    AssembleRequest,
    BatchArchive,
    BatchEntry,
    BatchOpening,
    InferenceAudio,
    InferenceLabelling,
    OpenBatchRequest,
    UtteranceTiming,
    batch_item_id,
    new_inference_jobs,
    split_job_id,
)
from core.speech.requests import SplitResult, UtteranceRequest, UtteranceResult
from core.speech.subtitles import TimedUtterance, subtitles
from core.speech.verification import summarize_verification, verification_of
from core.speech.words import WordTiming, delayed, delayed_marks
from roles.runtime.file_job import FileJobRun
from roles.speech.joined_speech import JoinedSpeech, UtteranceAudio, new_leveler
from roles.speech.parts import error_of_part, publish_result, record_voices, require_done
from roles.speech.speech_file import SpeechFile

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
                    error = error_of_part(item) if item is not None else forgotten
                    cancelled = item is not None and item.status is JobStatus.CANCELLED
                    status: Literal["cancelled", "failed"] = "cancelled" if cancelled else "failed"
                    entry = {"id": item_id, "filename": None, "status": status, "error": error.as_dict()}
                entries.append(entry)
            manifest = orjson.dumps({"batch": run.job.id, "items": entries}, option=orjson.OPT_INDENT_2)
            add_bytes(archive, MANIFEST, manifest)
        # Under the token of the lease: a worker that lost it, and goes on after that, overwrites nothing.
        key = f"{inference_folder(run.job.id)}/{run.job.id}.{run.context.lease.token}.zip"
        stored = publish_result(storage, temporary, key)
    completed = sum(entry["error"] is None for entry in entries)
    return {"archive": key, "completed": completed, "failed": len(entries) - completed, "items": entries, **stored}


def _assemble(request: AssembleRequest, run: FileJobRun) -> InferenceAudio:
    storage = run.services.storage
    jobs = _utterance_jobs(request.split, run.services.queue)
    utterances = [cast(UtteranceResult, job.result) for job in jobs]
    rate = max(utterance["sample_rate"] for utterance in utterances)  # several voices may have several
    output_rate = request.sample_rate or rate
    marks = SpeechMarks(run.services.settings)
    audio = [
        UtteranceAudio(UtteranceRequest.model_validate(job.payload), storage.path(utterance["audio"]))
        for job, utterance in zip(jobs, utterances, strict=True)
    ]
    marker = marks.begin(_first_utterance(audio), run.job.id, rate)
    levels = LevelSettings(request.true_peak - marks.headroom_db, request.trim_silence)
    with storage.temporary_file() as temporary:
        with temporary.open("w+b") as file:
            output = SpeechFile(file, request.format, rate, output_rate, tags_of(marker.label))
            joined = JoinedSpeech(output, marker, rate, new_leveler(audio, rate, levels))
            spoken = _join(joined, audio, utterances, run)
            output.finish()
        marks.finish_file(temporary, request.format, marker.label)
        key = f"{inference_folder(run.job.id)}/speech.{run.context.lease.token}.{FILE_EXTENSIONS[request.format]}"
        stored = publish_result(storage, temporary, key)
    words_key = f"{inference_folder(run.job.id)}/words.{run.context.lease.token}.json"
    with storage.temporary_file() as temporary:
        temporary.write_bytes(orjson.dumps(spoken))
        storage.publish(temporary, words_key)
    split = run.services.queue.job(request.split)
    text = str(split.payload.get("text", "")) if split is not None else request.text
    record_voices(run, [item.request for item in audio], marker.mark_id, joined.seconds, text)
    labelled: InferenceLabelling = {} if marker.label is None else {"aigc": marker.label.text}
    return {
        "audio": key,
        "format": request.format,
        "media_type": MEDIA_TYPES[request.format],
        "sample_rate": output_rate,
        "seconds": joined.seconds,
        "utterances": [
            _shown(timing, item.request, result) for timing, result, item in zip(spoken, utterances, audio, strict=True)
        ],
        "words": words_key,
        "verification": summarize_verification(utterances),
        **stored,
        **labelled,
    }


def _join(
    joined: JoinedSpeech, audio: Sequence[UtteranceAudio], results: Sequence[UtteranceResult], run: FileJobRun
) -> list[TimedUtterance]:
    """Write all utterances with the pauses between them, and return when each is heard."""
    spoken: list[TimedUtterance] = []
    pause_seconds = 0.0
    for utterance, result in zip(audio, results, strict=True):
        run.context.check()
        joined.add(bytes(2 * round(pause_seconds * joined.rate)), utterance.request)
        start = joined.position
        for samples in utterance.blocks(joined.rate):
            joined.add(samples, utterance.request)
        joined.end_utterance(utterance.request)
        words = cast(list[WordTiming], result.get("words", []))
        timing: TimedUtterance = {
            "text": result["text"],
            "start": start,
            "seconds": joined.position - start,
            "words": words,
        }
        if marks := result.get("marks"):
            timing["marks"] = marks
        spoken.append(timing)
        pause_seconds = result.get("pause_seconds", 0.0)
    for timing in spoken:  # when all is written it is known what was trimmed
        start = timing["start"] - joined.trimmed_seconds
        end = start + timing["seconds"]
        timing["words"] = delayed(timing["words"], start)
        if "marks" in timing:
            timing["marks"] = delayed_marks(timing["marks"], start)
        timing["start"] = max(joined.opening_seconds, start)
        timing["seconds"] = end - timing["start"]
    return spoken


def _shown(timing: TimedUtterance, request: UtteranceRequest, result: UtteranceResult) -> UtteranceTiming:
    """Return what the result of the inference says of an utterance."""
    shown = {"text": timing["text"], "start": timing["start"], "seconds": timing["seconds"]}
    marks = {"marks": timing["marks"]} if "marks" in timing else {}
    return cast(UtteranceTiming, {**shown, "voice_id": request.voice_id, **marks, **verification_of(result)})


def _first_utterance(audio: Sequence[UtteranceAudio]) -> UtteranceRequest:
    """Return the first utterance of the text, before which a notice may be spoken."""
    return next(item.request for item in audio if not item.request.notice)


def _utterance_jobs(split_id: str, queue: Queue) -> list[Job]:
    """Return the jobs of the utterances in order; raise when the text was not split or not all are spoken."""
    split = queue.job(split_id)
    require_done([split], queue)
    utterances = cast(SplitResult, split.result if split else None)["utterances"]
    if not utterances:
        raise InvalidRequest("The text holds nothing to say.")
    jobs = [queue.job(utterance["job_id"]) for utterance in utterances]
    require_done(jobs, queue)
    return [job for job in jobs if job is not None]
