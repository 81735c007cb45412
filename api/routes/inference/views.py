"""Inferences and batches as the API shows them."""

from __future__ import annotations

from typing import cast

from typing_extensions import TypedDict

from core.errors import ErrorData
from core.records import iso
from core.speech.batches import InferenceBatch
from core.speech.inference import Inference
from core.speech.inference_jobs import BatchArchive, InferenceAudio, batch_item_id


class SpokenView(TypedDict):
    """One sentence of a file."""

    text: str
    start: float
    seconds: float


class ResultView(TypedDict):
    """A file that is ready."""

    download_url: str
    format: str
    media_type: str
    sample_rate: int
    seconds: float
    size_bytes: int
    sha256: str
    utterances: list[SpokenView]


class InferenceView(TypedDict):
    """A text on its way to a file."""

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
    error: ErrorData | None
    error_message: str | None
    result: ResultView | None


class InferencePage(TypedDict):
    items: list[InferenceView]
    total: int
    limit: int
    offset: int


class BatchItemView(TypedDict):
    """One text of a batch."""

    index: int
    id: str
    filename: str
    status: str
    progress: float
    error: ErrorData | None


class ArchiveView(TypedDict):
    """An archive that is ready."""

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
    error: ErrorData | None
    error_message: str | None
    result: ArchiveView | None


class BatchView(BatchSummary):
    """Texts on their way to one archive."""

    items: list[BatchItemView]


class BatchPage(TypedDict):
    items: list[BatchSummary]
    total: int
    limit: int
    offset: int


def inference_view(one: Inference) -> InferenceView:
    error = one.job.error if one.status == "failed" else None
    return {
        "id": one.job.id,
        "status": one.status,
        "progress": round(one.progress, 4),
        "message": one.message,
        "text": one.request.text,
        "voice_id": one.request.voice_id,
        "language": one.request.language,
        "format": one.request.format,
        "speed": one.request.speed,
        "seed": one.request.seed,
        "emotion": one.request.prompt_name,
        "priority": one.job.priority,
        "utterances_done": one.utterances_done,
        "utterances_total": one.utterances_total,
        "created_at": iso(one.job.created_at or None),
        "started_at": iso(one.started_at or None),
        "completed_at": iso(one.job.finished_at or None),
        "error": error,
        "error_message": None if error is None else str(error.get("message", "")),
        "result": _result(one),
    }


def batch_view(batch: InferenceBatch) -> BatchView:
    return {**batch_summary(batch), "items": [_item(batch, number) for number in range(len(batch.items))]}


def batch_summary(batch: InferenceBatch) -> BatchSummary:
    job, result = batch.job, cast(BatchArchive | None, batch.job.result)
    error = job.error if batch.status == "failed" else None
    archive: ArchiveView | None = None
    if result is not None:
        archive = {
            "download_url": f"/api/v1/inference/batch/{job.id}/archive",
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
        "error": error,
        "error_message": None if error is None else str(error.get("message", "")),
        "result": archive,
    }


def _item(batch: InferenceBatch, number: int) -> BatchItemView:
    item = batch.items[number]
    waiting = "cancelled" if batch.status == "cancelled" else "queued"
    return {
        "index": number,
        "id": batch_item_id(batch.job.id, number),
        "filename": batch.request.filenames[number],
        "status": waiting if item is None else item.status,
        "progress": 0.0 if item is None else round(item.progress, 4),
        "error": item.job.error if item is not None and item.status == "failed" else None,
    }


def _result(one: Inference) -> ResultView | None:
    made = cast(InferenceAudio | None, one.job.result)
    if made is None:
        return None
    return {
        "download_url": f"/api/v1/inference/{one.job.id}/audio",
        "format": made["format"],
        "media_type": made["media_type"],
        "sample_rate": made["sample_rate"],
        "seconds": made["seconds"],
        "size_bytes": made["size_bytes"],
        "sha256": made["sha256"],
        "utterances": made["utterances"],
    }
