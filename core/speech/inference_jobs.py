"""The jobs of inferences and batches: their ids, payloads, results and dependencies."""

from __future__ import annotations

from typing import Final, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from common.audio_formats import AudioFormat
from core.errors import ErrorData
from core.jobs.file_jobs import KIND_FIELD, FileJobKind, FileJobPayload
from core.jobs.job import NewJob
from core.jobs.roles import FILES, SPLITTER
from core.speech.requests import MarkTiming, SpeechRequest, Timestamps
from core.speech.subtitles import DEFAULT_LINE_CHARACTERS, SubtitleFormat
from core.speech.verification import PartialVerification, VerificationSummary

INFERENCE_PREFIX: Final = "infer"
BATCH_PREFIX: Final = "batch"
"""What the ids begin with."""
MAX_BATCH_ITEMS: Final = 500
SHOWN_CHARACTERS: Final = 200
"""Of a text, in lists."""


class InferenceLabels(TypedDict, total=False):
    """What the client of the model service sent with its inference, to be shown again."""

    task_id: str
    """The id that it chose."""
    description: str | None
    device: str
    """The device that it asked for, as far as there is one."""
    device_note: str
    """A sentence when it runs on another one."""
    warnings: list[str]


class AssembleRequest(FileJobPayload):
    """The payload of an inference: make one file of the utterances of a splitter's job."""

    kind: Literal[FileJobKind.ASSEMBLE] = Field(FileJobKind.ASSEMBLE, alias=KIND_FIELD)
    split: str
    """The splitter's job, whose result names the utterances."""
    format: AudioFormat
    text: str
    """Its beginning."""
    voice_id: str
    language: str
    speed: float
    seed: int | None
    prompt_name: str = Field(alias="emotion")
    sample_rate: int = 0
    """Hz of the file; 0: as the voice's model speaks."""
    true_peak: float = -1.0
    trim_silence: bool = False
    timestamps: Timestamps | None = None
    """Whether the result is shown with its words."""
    labels: InferenceLabels = Field(default_factory=InferenceLabels)


class BatchItem(BaseModel):
    """One text of a batch."""

    model_config = ConfigDict(frozen=True)

    speech: SpeechRequest
    format: AudioFormat
    filename: str
    """Its name in the archive."""


class OpenBatchRequest(FileJobPayload):
    """The payload of the job that enqueues the items of a batch."""

    kind: Literal[FileJobKind.OPEN_BATCH] = Field(FileJobKind.OPEN_BATCH, alias=KIND_FIELD)
    batch: str
    items: tuple[BatchItem, ...]


class ArchiveRequest(FileJobPayload):
    """The payload of a batch: make one archive of the files of its inferences."""

    kind: Literal[FileJobKind.ARCHIVE_BATCH] = Field(FileJobKind.ARCHIVE_BATCH, alias=KIND_FIELD)
    filenames: tuple[str, ...]
    """One for each item."""
    subtitles: SubtitleFormat | None = None
    """A file beside each of them."""
    max_line_characters: int = DEFAULT_LINE_CHARACTERS


class StoredFile(TypedDict):
    """Size and checksum of a file that a job left."""

    size_bytes: int
    sha256: str


class UtteranceTiming(PartialVerification):
    """One utterance of an assembled file; times in seconds."""

    text: str
    start: float
    seconds: float
    voice_id: NotRequired[str]
    marks: NotRequired[list[MarkTiming]]
    """Of its text, where it has any."""


class InferenceLabelling(TypedDict, total=False):
    """What says that an assembled file is synthetic."""

    aigc: str
    """The label as JSON, for the response that is the file; absent where metadata are off."""


class InferenceAudio(StoredFile, InferenceLabelling):
    """The result of an inference."""

    audio: str
    """Storage key."""
    format: AudioFormat
    media_type: str
    sample_rate: int
    seconds: float
    utterances: list[UtteranceTiming]
    words: NotRequired[str]
    """Storage key of the `TimedUtterance`s in JSON."""
    verification: NotRequired[VerificationSummary]


class BatchOpening(TypedDict):
    """The result of the job that enqueues a batch's items."""

    items: int


class BatchEntry(TypedDict, total=False):
    """One item in the manifest of a batch's archive; `seconds`, `sha256` and `aigc` only of a completed one."""

    id: str
    filename: str | None
    status: Literal["completed", "failed", "cancelled"]
    error: ErrorData | None
    seconds: float
    sha256: str
    aigc: dict[str, str]
    """The label of synthetic speech, which raw samples have no place for."""
    verification: VerificationSummary


class BatchArchive(StoredFile):
    """The result of a batch."""

    archive: str
    """Storage key."""
    completed: int
    failed: int
    items: list[BatchEntry]


def split_job_id(inference_id: str) -> str:
    """Return the id of the job that splits an inference's text."""
    return f"{inference_id}.split"


def batch_item_id(batch_id: str, number: int) -> str:
    """Return the id of the inference that is a batch's item; `number` counts from 0."""
    return f"{batch_id}.{number}"


def opening_job_id(batch_id: str) -> str:
    """Return the id of the job that enqueues a batch's items."""
    return f"{batch_id}.open"


def new_inference_jobs(
    inference_id: str,
    speech: SpeechRequest,
    audio_format: AudioFormat,
    priority: int,
    *,
    batch: str = "",
    delay_seconds: float = 0.0,
    labels: InferenceLabels | None = None,
) -> tuple[NewJob, NewJob]:
    """Return the two jobs that an inference begins with: the one that splits, and the one that waits to assemble."""
    split_id = split_job_id(inference_id)
    assembly = AssembleRequest(
        split=split_id,
        format=audio_format,
        text=speech.text[:SHOWN_CHARACTERS],
        voice_id=speech.voice_id,
        language=speech.language,
        speed=speech.speed,
        seed=speech.seed,
        prompt_name=speech.prompt_name,
        sample_rate=speech.sample_rate,
        true_peak=speech.true_peak,
        trim_silence=speech.trim_silence,
        timestamps=speech.timestamps,
        labels=labels or InferenceLabels(),
    )
    split_job = NewJob(
        role=SPLITTER,
        payload=speech.model_copy(update={"assembly": inference_id}).stored(),
        job_id=split_id,
        priority=priority,
        topic=inference_id,
        delay_seconds=delay_seconds,
        characters=len(speech.text),
        part_of=inference_id,
    )
    assembly_job = NewJob(
        role=FILES,
        payload=assembly.stored(),
        job_id=inference_id,
        priority=priority,
        topic=batch,
        depends_on=(split_id,),
        on_dependency_failure="start",
    )
    return split_job, assembly_job
