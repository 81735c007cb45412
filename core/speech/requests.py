"""What is asked of a voice: the payloads that the API, the splitter and the synthesizers agree on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, NotRequired, Self

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from core.errors import InvalidRequest, UnsupportedLanguage

MIN_SPEED: Final = 0.25
MAX_SPEED: Final = 4.0
MAX_PRONUNCIATIONS: Final = 1000

InputType = Literal["auto", "text", "marks", "ssml"]
"""`auto`: SSML where the text begins with `<speak`, else marks such as `{500ms}`. `text`: nothing is a mark."""

LANGUAGES: Final[dict[str, tuple[str, ...]]] = {
    "auto": ("", "auto", "multilingual", "多语种混合"),
    "auto_yue": ("auto-yue", "多语种混合(粤语)"),
    "zh": ("zh", "zh-cn", "zh-hans", "zh-tw", "zh-hant", "cmn", "zho", "chinese", "mandarin", "中英混合"),
    "en": ("en", "en-us", "en-gb", "eng", "english", "英文", "英语"),
    "ja": ("ja", "ja-jp", "jp", "jpn", "japanese", "日英混合"),
    "ko": ("ko", "ko-kr", "kor", "korean", "韩英混合"),
    "yue": ("yue", "yue-hk", "zh-hk", "zh-yue", "cantonese", "粤英混合"),
    "all_zh": ("all-zh", "中文"),
    "all_ja": ("all-ja", "日文", "日本語"),
    "all_ko": ("all-ko", "韩文", "한국어"),
    "all_yue": ("all-yue", "粤语", "粵語"),
}
"""What a text may be written in → the names it is known by, in small letters with `-`.

`auto` gives every script its language, `auto_yue` the same with Cantonese for Mandarin. In the others Latin words are
English; a number goes with its neighbours, under `all_…` with the language.
"""

_CANONICAL: Final = {alias: name for name, aliases in LANGUAGES.items() for alias in aliases}


def canonical_language(language: str) -> str:
    """The one name of a language; UnsupportedLanguage lists what can be spoken."""
    name = _CANONICAL.get(language.strip().lower().replace("_", "-"))
    if name is None:
        raise UnsupportedLanguage(
            f"The language {language!r} cannot be spoken.", hint=f"Languages: {', '.join(LANGUAGES)}."
        )
    return name


def check_speed(speed: float) -> float:
    """The speed itself when it can be spoken at."""
    if not MIN_SPEED <= speed <= MAX_SPEED:
        raise InvalidRequest(
            f"The speed is {speed:g}; it may be {MIN_SPEED:g} to {MAX_SPEED:g}.",
            hint="1 is the voice's own pace, 2 is twice as fast.",
        )
    return speed


class PromptRef(BaseModel):
    """A reference recording whose manner the speech takes on."""

    model_config = ConfigDict(frozen=True)

    audio: str
    """Storage key of a WAV."""
    text: str
    language: str = "auto"


def whole(text: str) -> str:
    """The text with a � for each half of a character, which nothing could store or send."""
    return text if _is_whole(text) else re.sub("[\ud800-\udfff]", "\ufffd", text)


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_pronunciations(entries: dict[str, str]) -> dict[str, str]:
    """The dictionary itself when it has a usable size; what its readings say is checked where they are spoken."""
    if len(entries) > MAX_PRONUNCIATIONS:
        raise InvalidRequest(f"The dictionary has {len(entries)} words; {MAX_PRONUNCIATIONS} is the most.")
    for word, reading in entries.items():
        if not (_is_whole(word) and _is_whole(reading)):
            raise InvalidRequest(f"The dictionary's word {word[:40]!r} or its reading has half a character.")
        if not 1 <= len(word.strip()) <= 100 or not 1 <= len(reading.strip()) <= 500:
            raise InvalidRequest(
                f"The dictionary's word {word[:40]!r} or its reading is empty or too long.",
                hint="A word has up to 100 characters, a reading up to 500.",
            )
    return entries


class TextReading(BaseModel):
    """What a place in a text is read as (docs/text.md)."""

    model_config = ConfigDict(frozen=True)

    start: int
    end: int
    """Characters from the start of the text."""
    language: str
    units: tuple[str, ...] = ()
    """Syllables or phones; none where only the language is given."""


class SpeechRequest(BaseModel):
    """A text to speak in a voice: the payload of a splitter's job."""

    model_config = ConfigDict(frozen=True)

    text: str
    input_type: InputType = "auto"
    language: str = "auto"
    pronunciations: dict[str, str] = Field(default_factory=dict)
    """Word → reading, the voice's own among them."""
    voice_id: str
    speed: float = Field(1.0, ge=MIN_SPEED, le=MAX_SPEED)
    seed: int | None = None
    """The same seed, text and voice give the same samples; None takes any."""
    prompt: PromptRef | None = None
    """In place of the voice's own."""
    emotion: str = ""
    """Which of the voice's own prompts to speak like; empty takes its first."""
    assembly: str = ""
    """The job that waits for the utterances to make one file of them; empty when the caller collects them."""
    device: str = ""
    """Where it must be spoken: `cuda`, `cuda:N`, `cpu`; empty: anywhere."""


class UtteranceJob(TypedDict):
    """An utterance that a splitter enqueued."""

    job_id: str
    text: str


class SplitResult(TypedDict):
    """The result of a splitter's job."""

    utterances: list[UtteranceJob]


class UtteranceResult(TypedDict):
    """The result of a synthesizer's job; times in seconds."""

    audio: str
    """Storage key."""
    sample_rate: int
    seconds: float
    pause_seconds: NotRequired[float]
    """Silence before the next utterance."""
    text: str
    seed: int
    real_time_factor: float
    skipped: list[tuple[int, str]]
    """Position in the text and characters that have no pronunciation."""


class UtteranceRequest(BaseModel):
    """One sentence of a speech request: the payload of a synthesizer's job."""

    model_config = ConfigDict(frozen=True)

    parent: str
    """The splitter's job; the sound is kept under its id."""
    index: int
    text: str
    language: str
    voice_id: str
    speed: float = 1.0
    seed: int | None = None
    prompt: PromptRef | None = None
    emotion: str = ""
    announced: bool = False
    """Whether to tell who watches the assembly that this one is spoken."""
    readings: tuple[TextReading, ...] = ()
    silence_before: float = 0.0
    """Seconds of a pause that the text asks for."""
    silence_after: float = 0.0

    @classmethod
    def part_of(
        cls,
        request: SpeechRequest,
        *,
        parent: str,
        index: int,
        text: str,
        language: str,
        readings: Sequence[TextReading] = (),
        rate: float = 1.0,
        silence_before: float = 0.0,
        silence_after: float = 0.0,
    ) -> Self:
        """One utterance of the request; it owns everything it needs, so no two requests can mix.

        `rate`: times the request's speed, within what can be spoken.
        """
        return cls(
            parent=parent,
            index=index,
            text=text,
            language=language,
            voice_id=request.voice_id,
            speed=min(max(request.speed * rate, MIN_SPEED), MAX_SPEED),
            seed=request.seed,
            prompt=request.prompt,
            emotion=request.emotion,
            announced=bool(request.assembly),
            readings=tuple(readings),
            silence_before=silence_before,
            silence_after=silence_after,
        )
