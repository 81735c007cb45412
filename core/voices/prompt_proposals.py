"""Passages of a voice's recordings that are proposed as prompts: the job that finds them, and its result."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from common import storage_keys
from common.limits import UPSTREAM_PROMPT_SECONDS
from core.errors import InputGone, RecordingTooShort
from core.jobs.file_jobs import KIND_FIELD, FileJobKind, FileJobPayload

PROPOSALS_PREFIX: Final = "proposals"
MAX_PROPOSALS: Final = 20
MAX_RECORDING_SECONDS: Final = 1800.0
"""Of an uploaded file in which passages are looked for."""


class PromptProposalRequest(FileJobPayload):
    """The payload of a job that looks for prompts."""

    kind: Literal[FileJobKind.PROPOSE_PROMPTS] = Field(FileJobKind.PROPOSE_PROMPTS, alias=KIND_FIELD)
    voice_id: str
    voice_name: str
    count: int
    segments: str = ""
    """Storage key of the folder with the segments of the experiment that trained the voice; empty: none."""
    transcripts: str = ""
    """Storage key of the list of what they say."""
    dataset_id: str = ""
    dataset_version: int | None = None
    """The data set whose segments are taken where those of the experiment are gone."""
    recording: str = ""
    """Storage key of an uploaded file, in which passages are looked for where there are no segments."""


class PromptScores(TypedDict):
    """How good a passage is as a prompt in each respect, from 0 to 1."""

    duration: float
    noise: float
    clipping: float
    speech: float
    transcript: float
    typical: float
    speaker: float | None
    """Null where the speaker encoder is not installed."""


class PromptProposal(TypedDict):
    """A passage."""

    source: str
    """Name of the segment; empty: of an uploaded file."""
    start_seconds: float
    """In the segment or the file."""
    seconds: float
    text: str
    language: str
    score: float
    scores: PromptScores
    signal_to_noise_db: float
    confidence: float
    """Of the speech recognizer that it says the text."""
    complete: bool
    """Whether the text is a sentence from its beginning to its end."""


class PromptProposals(TypedDict):
    """The result of such a job: the best passages first."""

    source: Literal["segments", "dataset", "file"]
    proposals: list[PromptProposal]


def no_recordings(voice_name: str) -> InputGone:
    """Return the error of a voice in whose recordings nothing can be looked for."""
    return InputGone(
        f"The voice {voice_name} has no recordings any more.",
        hint="Upload one of its speaker (POST /api/v1/files) and send its id as `file_id`.",
    )


def no_passage() -> RecordingTooShort:
    """Return the error of recordings in which no passage is a prompt."""
    shortest, longest = UPSTREAM_PROMPT_SECONDS
    return RecordingTooShort(
        f"No passage of these recordings has {shortest:g} to {longest:g} s of speech.",
        hint="Send `file_id` of a longer recording of the speaker.",
    )


def proposal_key(job_id: str, voice_id: str, number: int) -> str:
    """Return the storage key of a passage's WAV, which expires like speech."""
    return storage_keys.speech_file(job_id, f"{voice_id}.{number}.wav")
