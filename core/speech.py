"""What is asked of a voice: the payloads that the API, the splitter and the synthesizers agree on."""

from __future__ import annotations

from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field

from core.errors import InvalidRequest, UnsupportedLanguage

MIN_SPEED: Final = 0.25
MAX_SPEED: Final = 4.0

LANGUAGES: Final[dict[str, tuple[str, ...]]] = {
    "auto": ("", "auto"),
    "en": ("en", "en-us", "en-gb", "english", "英文"),
    "zh": ("zh", "zh-cn", "zh-hans", "cmn", "chinese", "mandarin", "中文"),
}
"""What a text may be written in → the other names it is known by, in small letters."""

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


class SpeechRequest(BaseModel):
    """A text to speak in a voice: the payload of a splitter's job."""

    model_config = ConfigDict(frozen=True)

    text: str
    language: str = "auto"
    voice_id: str
    speed: float = Field(1.0, ge=MIN_SPEED, le=MAX_SPEED)
    seed: int | None = None
    """The same seed, text and voice give the same samples; None takes any."""
    prompt: PromptRef | None = None
    """In place of the voice's own."""


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

    @classmethod
    def part_of(cls, request: SpeechRequest, *, parent: str, index: int, text: str, language: str) -> Self:
        """One utterance of the request; it owns everything it needs, so no two requests can mix."""
        return cls(
            parent=parent,
            index=index,
            text=text,
            language=language,
            voice_id=request.voice_id,
            speed=request.speed,
            seed=request.seed,
            prompt=request.prompt,
        )
