"""Response bodies of inferences and batches."""

from __future__ import annotations

from typing import NotRequired, cast

from typing_extensions import TypedDict

from api.http.localization import localized, localized_error, localized_message
from api.http.request_context import external_path
from api.http.schemas import JsonObjectView
from core.records import iso
from core.speech.batches import InferenceBatch
from core.speech.inference import Inference
from core.speech.inference_jobs import BatchArchive, InferenceAudio, UtteranceTiming, batch_item_id
from core.speech.requests import MarkTiming
from core.speech.verification import PartialVerification, VerificationSummary
from core.speech.words import WordTiming


class SentenceView(PartialVerification):
    """One sentence of a file."""

    text: str
    start: float
    seconds: float
    words: NotRequired[list[WordTiming]]
    """Where the request asks for timestamps, in the response of `GET /inference/{id}`."""
    voice_id: NotRequired[str]
    marks: NotRequired[list[MarkTiming]]
    """Where the text has any."""


class AudioResultView(TypedDict):
    """A finished audio file."""

    download_url: str
    subtitles_url: str
    format: str
    media_type: str
    sample_rate: int
    seconds: float
    size_bytes: int
    sha256: str
    utterances: list[SentenceView]
    verification: VerificationSummary | None


class InferenceView(TypedDict):
    """A text that becomes an audio file."""

    id: str
    status: str
    progress: float
    message: str
    text: str
    voice_id: str
    language: str
    format: str
    speed: float
    seed: int | None
    emotion: str
    priority: int
    utterances_done: int
    utterances_total: int | None
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    error: JsonObjectView | None
    error_message: str | None
    result: AudioResultView | None


class BatchItemView(TypedDict):
    """One text of a batch."""

    index: int
    id: str
    filename: str
    status: str
    progress: float
    error: JsonObjectView | None


class BatchArchiveView(TypedDict):
    """A finished archive of a batch."""

    download_url: str
    size_bytes: int
    sha256: str
    completed: int
    failed: int


class BatchSummary(TypedDict):
    """A batch without its items."""

    id: str
    status: str
    progress: float
    items_done: int
    items_total: int
    priority: int
    created_at: str | None
    completed_at: str | None
    error: JsonObjectView | None
    error_message: str | None
    result: BatchArchiveView | None


class BatchView(BatchSummary):
    """Texts that become one archive of audio files."""

    items: list[BatchItemView]


def inference_view(inference: Inference) -> InferenceView:
    """Return an inference as the API shows it."""
    job, request = inference.job, inference.request
    error = job.error if inference.status == "failed" else None
    return {
        "id": job.id,
        "status": inference.status,
        "progress": round(inference.progress, 4),
        "message": localized(inference.message, error),
        "text": request.text,
        "voice_id": request.voice_id,
        "language": request.language,
        "format": request.format,
        "speed": request.speed,
        "seed": request.seed,
        "emotion": request.prompt_name,
        "priority": job.priority,
        "utterances_done": inference.utterances_done,
        "utterances_total": inference.utterances_total,
        "created_at": iso(job.created_at or None),
        "started_at": iso(inference.started_at or None),
        "completed_at": iso(job.finished_at or None),
        "error": localized_error(error),
        "error_message": localized_message(error),
        "result": _audio_result(inference),
    }


def batch_view(batch: InferenceBatch) -> BatchView:
    """Return a batch with its items."""
    return {**batch_summary(batch), "items": [_item_view(batch, number) for number in range(len(batch.items))]}


def batch_summary(batch: InferenceBatch) -> BatchSummary:
    """Return a batch as lists show it."""
    job, result = batch.job, cast(BatchArchive | None, batch.job.result)
    error = job.error if batch.status == "failed" else None
    archive: BatchArchiveView | None = None
    if result is not None:
        archive = {
            "download_url": external_path(f"/api/v1/inference/batch/{job.id}/archive"),
            "size_bytes": result["size_bytes"],
            "sha256": result["sha256"],
            "completed": result["completed"],
            "failed": result["failed"],
        }
    return {
        "id": job.id,
        "status": batch.status,
        "progress": round(batch.progress, 4),
        "items_done": batch.items_done,
        "items_total": batch.items_total,
        "priority": job.priority,
        "created_at": iso(job.created_at or None),
        "completed_at": iso(job.finished_at or None),
        "error": localized_error(error),
        "error_message": localized_message(error),
        "result": archive,
    }


def _item_view(batch: InferenceBatch, number: int) -> BatchItemView:
    item = batch.items[number]
    pending = "cancelled" if batch.status == "cancelled" else "queued"
    return {
        "index": number,
        "id": batch_item_id(batch.job.id, number),
        "filename": batch.request.filenames[number],
        "status": pending if item is None else item.status,
        "progress": 0.0 if item is None else round(item.progress, 4),
        "error": localized_error(item.job.error) if item is not None and item.status == "failed" else None,
    }


def _sentence(utterance: UtteranceTiming) -> SentenceView:
    """Return an utterance without its words, which an older worker left with it."""
    return cast(SentenceView, {name: value for name, value in utterance.items() if name != "words"})


def _audio_result(inference: Inference) -> AudioResultView | None:
    result = cast(InferenceAudio | None, inference.job.result)
    if result is None:
        return None
    return {
        "download_url": external_path(f"/api/v1/inference/{inference.job.id}/audio"),
        "subtitles_url": external_path(f"/api/v1/inference/{inference.job.id}/subtitles"),
        "format": result["format"],
        "media_type": result["media_type"],
        "sample_rate": result["sample_rate"],
        "seconds": result["seconds"],
        "size_bytes": result["size_bytes"],
        "sha256": result["sha256"],
        "utterances": [_sentence(utterance) for utterance in result["utterances"]],
        "verification": result.get("verification"),
    }
