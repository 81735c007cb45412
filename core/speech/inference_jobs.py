"""The jobs that speech without a listener consists of: their payloads, their ids, and which waits for which."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from core.jobs.queue import NewJob
from core.jobs.roles import SPLITTER
from core.speech.requests import SpeechRequest

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

INFERENCE: Final = "infer"
BATCH: Final = "batch"
"""What the ids begin with."""
MAX_ITEMS: Final = 500
"""Texts in one batch."""
SHOWN_CHARACTERS: Final = 200
ENDINGS: Final[dict[str, str]] = {"opus": "ogg"}
"""Format → ending of its files, where it is another word."""


class AssembleRequest(BaseModel):
    """Make one file of what another job had spoken: the payload of an inference."""

    model_config = ConfigDict(frozen=True)

    work: Literal["assemble"] = "assemble"
    split: str
    """The splitter's job, whose result names the utterances."""
    format: Format
    text: str
    """Its beginning, for lists."""
    voice_id: str
    language: str
    speed: float
    seed: int | None
    emotion: str


class BatchItem(BaseModel):
    """One text of a batch."""

    model_config = ConfigDict(frozen=True)

    speech: SpeechRequest
    format: Format
    filename: str
    """In the archive."""


class OpenBatchRequest(BaseModel):
    """Enqueue the items of a batch."""

    model_config = ConfigDict(frozen=True)

    work: Literal["open_batch"] = "open_batch"
    batch: str
    items: tuple[BatchItem, ...]


class ArchiveRequest(BaseModel):
    """Make one archive of the files of several inferences: the payload of a batch."""

    model_config = ConfigDict(frozen=True)

    work: Literal["archive_batch"] = "archive_batch"
    filenames: tuple[str, ...]
    """One an item; the id of an item is the batch's with its number."""


def split_of(inference_id: str) -> str:
    return f"{inference_id}.split"


def item_of(batch_id: str, number: int) -> str:
    return f"{batch_id}.{number}"


def folder_of(inference_id: str) -> str:
    """Storage key of what an inference or a batch leaves."""
    return f"inference/{inference_id}"


def ending_of(format: str) -> str:
    """Of a file's name, without the dot."""
    return ENDINGS.get(format, format)


def jobs_of(
    inference_id: str,
    speech: SpeechRequest,
    format: Format,
    priority: int,
    *,
    batch: str = "",
    delay_seconds: float = 0.0,
) -> tuple[NewJob, NewJob]:
    """The two jobs that an inference begins with: the one that splits, and the one that waits for it."""
    split = split_of(inference_id)
    assembly = AssembleRequest(
        split=split,
        format=format,
        text=speech.text[:SHOWN_CHARACTERS],
        voice_id=speech.voice_id,
        language=speech.language,
        speed=speech.speed,
        seed=speech.seed,
        emotion=speech.emotion,
    )
    spoken = speech.model_copy(update={"assembly": inference_id})
    return (
        NewJob(SPLITTER, spoken.model_dump(), split, priority, topic=inference_id, delay_seconds=delay_seconds),
        NewJob(SPLITTER, assembly.model_dump(), inference_id, priority, topic=batch, after=(split,), impatient=True),
    )
