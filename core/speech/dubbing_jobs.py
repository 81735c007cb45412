"""The jobs behind subtitles that are spoken: each cue once, those that do not fit again, and one file of them all.

<id>.open ── <id>.open.N (utterances) ── <id>.fit ── <id>.fit.N (utterances again) ── <id>
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from common.audio_formats import AudioFormat
from core.jobs.file_jobs import KIND_FIELD, FileJobKind, FileJobPayload
from core.jobs.job import NewJob
from core.jobs.roles import FILES
from core.speech.inference_jobs import InferenceLabelling, StoredFile
from core.speech.requests import SpeechRequest
from core.speech.verification import Verdict

DUBBING_PREFIX: Final = "dub"
"""What the ids begin with."""


class DubbedCue(BaseModel):
    """A cue, and in which voice it is spoken."""

    model_config = ConfigDict(frozen=True)

    start: float
    end: float
    text: str
    voice: int
    """Index of its request."""


class DubbingPlan(BaseModel):
    """What is to be spoken when."""

    model_config = ConfigDict(frozen=True)

    cues: tuple[DubbedCue, ...]
    """In the order of their times; those without words are left out."""
    voices: tuple[SpeechRequest, ...]
    """A request without a text for each voice."""
    min_speed: float
    max_speed: float
    """Times the speed of the requests."""
    format: AudioFormat
    seconds: float
    """Length of the file at least: where the last cue ends."""


class OpenDubbingRequest(FileJobPayload):
    """The payload of the job that has all cues spoken."""

    kind: Literal[FileJobKind.OPEN_DUBBING] = Field(FileJobKind.OPEN_DUBBING, alias=KIND_FIELD)
    dubbing: str
    plan: DubbingPlan


class FitDubbingRequest(FileJobPayload):
    """The payload of the job that has those cues spoken again that do not fit."""

    kind: Literal[FileJobKind.FIT_DUBBING] = Field(FileJobKind.FIT_DUBBING, alias=KIND_FIELD)
    dubbing: str


class AssembleDubbingRequest(FileJobPayload):
    """The payload of the job that puts all cues into one file."""

    kind: Literal[FileJobKind.ASSEMBLE_DUBBING] = Field(FileJobKind.ASSEMBLE_DUBBING, alias=KIND_FIELD)
    format: AudioFormat
    voice_ids: tuple[str, ...]
    cues: int
    """How many have words."""


class CueUtterances(TypedDict):
    """The jobs of the utterances of a cue."""

    jobs: list[str]
    speed: float


class DubbingOpening(TypedDict):
    """The result of the job that has the cues spoken, and of the one that has some of them spoken again."""

    cues: list[CueUtterances | None]
    """One for each cue; None where it is as it was."""


class CueReport(TypedDict):
    """How a cue was spoken; times in seconds."""

    text: str
    voice_id: str
    start: float
    end: float
    """As the subtitles say."""
    spoken_start: float
    spoken_end: float
    speed: float
    fits: bool
    """Whether it is spoken within its time."""
    verdict: NotRequired[Verdict]


class DubbingAudio(StoredFile, InferenceLabelling):
    """The result of spoken subtitles."""

    audio: str
    """Storage key."""
    format: AudioFormat
    media_type: str
    sample_rate: int
    seconds: float
    cues: list[CueReport]


def opening_id(dubbing_id: str) -> str:
    """Return the id of the job that has the cues spoken."""
    return f"{dubbing_id}.open"


def fitting_id(dubbing_id: str) -> str:
    """Return the id of the job that has some of them spoken again."""
    return f"{dubbing_id}.fit"


def new_dubbing_jobs(dubbing_id: str, plan: DubbingPlan, priority: int) -> Sequence[NewJob]:
    """Return the three jobs that spoken subtitles begin with."""
    assembly = AssembleDubbingRequest(
        format=plan.format, voice_ids=tuple(voice.voice_id for voice in plan.voices), cues=len(plan.cues)
    )
    opening = NewJob(
        role=FILES,
        payload=OpenDubbingRequest(dubbing=dubbing_id, plan=plan).stored(),
        job_id=opening_id(dubbing_id),
        priority=priority,
        topic=dubbing_id,
        characters=sum(len(cue.text) for cue in plan.cues),
        part_of=dubbing_id,
    )
    fitting = NewJob(
        role=FILES,
        payload=FitDubbingRequest(dubbing=dubbing_id).stored(),
        job_id=fitting_id(dubbing_id),
        priority=priority,
        depends_on=(opening.job_id,),
        on_dependency_failure="start",
        part_of=dubbing_id,
    )
    last = NewJob(
        role=FILES,
        payload=assembly.stored(),
        job_id=dubbing_id,
        priority=priority,
        depends_on=(fitting.job_id,),
        on_dependency_failure="start",
    )
    return opening, fitting, last
