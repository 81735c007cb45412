"""The jobs that speech without a listener consists of: their payloads, their ids, and which waits for which."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from core.errors import ErrorData
from core.jobs.file_jobs import KIND_FIELD, FileJobKind, FileJobPayload
from core.jobs.job import NewJob
from core.jobs.roles import FILES, SPLITTER
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


class AssembleRequest(FileJobPayload):
    """The payload of an inference: make one file of the utterances of a splitter's job."""

    kind: Literal[FileJobKind.ASSEMBLE] = Field(FileJobKind.ASSEMBLE, alias=KIND_FIELD)
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


class OpenBatchRequest(FileJobPayload):
    """The payload of the job that enqueues the items of a batch."""

    kind: Literal[FileJobKind.OPEN_BATCH] = Field(FileJobKind.OPEN_BATCH, alias=KIND_FIELD)
    batch: str
    items: tuple[BatchItem, ...]


class ArchiveRequest(FileJobPayload):
    """The payload of a batch: make one archive of the files of its inferences."""

    kind: Literal[FileJobKind.ARCHIVE_BATCH] = Field(FileJobKind.ARCHIVE_BATCH, alias=KIND_FIELD)
    filenames: tuple[str, ...]
    """One an item; the id of an item is the batch's with its number."""


class StoredFile(TypedDict):
    """Size and checksum of a file that a job left."""

    size_bytes: int
    sha256: str


class SpokenUtterance(TypedDict):
    """One utterance of an assembled file; times in seconds."""

    text: str
    start: float
    seconds: float


class AssembledAudio(StoredFile):
    """The result of an inference."""

    audio: str
    """Storage key."""
    format: Format
    media_type: str
    sample_rate: int
    seconds: float
    utterances: list[SpokenUtterance]


class OpenedBatch(TypedDict):
    """The result of the job that enqueues a batch's items."""

    items: int


class BatchEntry(TypedDict, total=False):
    """One item in the manifest of a batch's archive; `seconds` and `sha256` only of a completed one."""

    id: str
    filename: str | None
    status: Literal["completed", "failed", "cancelled"]
    error: ErrorData | None
    seconds: float
    sha256: str


class BatchArchive(StoredFile):
    """The result of a batch."""

    archive: str
    """Storage key."""
    completed: int
    failed: int
    items: list[BatchEntry]


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
        NewJob(
            SPLITTER,
            spoken.model_dump(),
            job_id=split,
            priority=priority,
            topic=inference_id,
            delay_seconds=delay_seconds,
        ),
        NewJob(
            FILES,
            assembly.stored(),
            job_id=inference_id,
            priority=priority,
            topic=batch,
            depends_on=(split,),
            on_dependency_failure="start",
        ),
    )
