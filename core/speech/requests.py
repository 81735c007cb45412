"""Speech requests: the payloads and results that the API, the splitter and the synthesizers agree on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from typing_extensions import TypedDict

from common.limits import MAX_SPEED, MIN_SPEED
from common.text_origins import TextOrigin
from core.seed import Seed
from core.speech.sampling import SamplingOptions, SplitMethod
from core.speech.verification import PartialVerification

Timestamps = Literal["word", "phoneme"]
"""How finely speech is timed."""
InputType = Literal["auto", "text", "marks", "ssml"]
"""`auto`: SSML where the text begins with `<speak`, else inline tags such as `{500ms}`; `text`: no markup at all."""


class SpeechPayload(BaseModel):
    """What the payloads of the speech roles have in common."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    def stored(self) -> dict[str, object]:
        """Return the payload as the queue keeps it."""
        return self.model_dump(by_alias=True)


class PromptRef(BaseModel):
    """A reference recording whose voice and manner the speech takes on."""

    model_config = ConfigDict(frozen=True)

    audio: str
    """Storage key of a WAV file."""
    text: str
    language: str = "auto"


class PronunciationSpan(BaseModel):
    """The pronunciation of a span of a text (docs/text.md)."""

    model_config = ConfigDict(frozen=True)

    start: int
    end: int
    """Characters from the start of the text."""
    language: str
    units: tuple[str, ...] = ()
    """Syllables or phonemes; empty where only the language is given."""


class NamedVoice(BaseModel):
    """A voice that a text names, beside that of the request."""

    model_config = ConfigDict(frozen=True)

    voice_id: str
    voice_stamp: str = ""
    prompt_name: str = ""
    pronunciations: dict[str, str] = Field(default_factory=dict)
    loudness: float | None = None


class SpeechRequest(SpeechPayload):
    """The payload of a splitter's job: a text to synthesize with a voice."""

    text: str
    input_type: InputType = "auto"
    language: str = "auto"
    number_language: str = ""
    """The voice's language, of numbers in a text without a word that tells theirs; empty: Mandarin."""
    spoken_languages: tuple[str, ...] = ()
    """Those of the voice; empty: any."""
    strict_language: bool = False
    """Whether a text in another language is an error instead of a warning."""
    pronunciations: dict[str, str] = Field(default_factory=dict)
    """Word → pronunciation, the voice's own among them."""
    voice_id: str
    voice_stamp: str = ""
    """Of the voice's record when the request was checked; empty in jobs of earlier versions."""
    voices: dict[str, NamedVoice] = Field(default_factory=dict)
    """Name → a voice that the text names."""
    first_voice: str = ""
    """The one of them in which the text begins; empty: that of the request."""
    speed: float = Field(1.0, ge=MIN_SPEED, le=MAX_SPEED)
    seed: Seed | None = None
    """The same seed, text and voice give the same samples; None takes a random one."""
    prompt: PromptRef | None = None
    """In place of the voice's own prompts."""
    prompt_name: str = Field("", alias="emotion")
    """The voice's own prompt of that name; empty: its first."""
    extra_references: tuple[str, ...] = ()
    """Storage keys of more WAV files whose style is averaged with the prompt's; not for v3 and v4."""
    timbre: str = ""
    """Storage key of a WAV file whose timbre the speech has; empty: the prompt's. For versions whose GPT continues the
    prompt while the second stage takes its timbre from another recording."""
    gpt_checkpoint_id: str = ""
    sovits_checkpoint_id: str = ""
    """Checkpoints in place of the voice's; empty: its own."""
    sampling: SamplingOptions = SamplingOptions()
    text_split_method: SplitMethod | None = None
    """None: whole sentences, joined and cut to what is spoken in one breath."""
    sample_rate: int = 0
    """Hz of the file or stream; 0: as the voice's model speaks."""
    loudness: float | None = None
    """LUFS that the speech is brought to; None: as the model speaks."""
    true_peak: float = -1.0
    """dBTP that speech with a loudness does not exceed."""
    trim_silence: bool = False
    """Whether the silence before and after the speech is dropped."""
    timestamps: Timestamps | None = None
    """Whether results show words; they are timed in any case, phonemes only where they are asked for."""
    assembly: str = ""
    """The job that joins the utterances to one file; empty when the caller enqueues and streams them itself."""
    device: str = ""
    """The device constraint: `cuda`, `cuda:N`, `cpu`; empty: anywhere."""


class UtteranceJob(TypedDict):
    """An utterance that a splitter found."""

    job_id: str
    text: str
    request: NotRequired[dict[str, Any]]
    """The payload of its job, where the caller enqueues it."""


class SplitResult(TypedDict):
    """The result of a splitter's job."""

    utterances: list[UtteranceJob]


class MarkTiming(TypedDict):
    """A mark in a text, and when it is reached."""

    name: str
    time: float
    """Seconds from the start of the audio."""


class UtteranceResult(PartialVerification):
    """The result of a synthesizer's job; times in seconds."""

    audio: str
    """Storage key; empty where the audio was streamed."""
    sample_rate: int
    seconds: float
    pause_seconds: NotRequired[float]
    """Silence before the next utterance."""
    text: str
    seed: int
    real_time_factor: float
    skipped: list[tuple[int, str]]
    """Position in the text and characters that have no pronunciation."""
    words: NotRequired[list[dict[str, Any]]]
    """Each a `core.speech.words.WordTiming`, from the start of the audio; of streamed audio those that went with no
    chunk."""
    marks: NotRequired[list[MarkTiming]]
    """Of the text, from the start of the audio."""


class UtteranceRequest(SpeechPayload):
    """The payload of a synthesizer's job: one utterance of a speech request, with everything that it needs."""

    parent: str
    """The splitter's job, under whose id the audio is stored."""
    index: int
    text: str
    language: str
    voice_id: str
    voice_stamp: str = ""
    speed: float = 1.0
    pitch: float = 0.0
    """Semitones above the voice's own."""
    gain: float = 1.0
    """Times the voice's own amplitude."""
    seed: Seed | None = None
    repeatable: bool = False
    """Whether the caller chose the seed, and may ask for the same samples again."""
    prompt: PromptRef | None = None
    prompt_name: str = Field("", alias="emotion")
    extra_references: tuple[str, ...] = ()
    timbre: str = ""
    gpt_checkpoint_id: str = ""
    sovits_checkpoint_id: str = ""
    sampling: SamplingOptions = SamplingOptions()
    announced: bool = False
    """Whether to publish an event for the watchers of the assembly when it is synthesized."""
    readings: tuple[PronunciationSpan, ...] = ()
    silence_before: float = 0.0
    """Seconds of a pause that the text asks for."""
    silence_after: float = 0.0
    text_start: int = 0
    text_end: int = 0
    """Characters of the request's text, up to the next utterance."""
    origins: Annotated[tuple[TextOrigin, ...], PlainSerializer(lambda origins: [tuple(o) for o in origins])] = ()
    """Where in the request's text, with its markup, the text stands."""
    marks: tuple[tuple[str, int], ...] = ()
    """Names and places in the text, in order, of what is timed; a place beyond the text is behind its silence."""
    timestamps: Timestamps | None = None
    loudness: float | None = None
    notice: bool = False
    """Whether it says that what follows is synthetic, and is no part of the text."""
