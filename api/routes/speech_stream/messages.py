"""The messages of a speech stream: what a client sends."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from api.http.schemas import StrictModel
from api.services.sampling_fields import SamplingFields
from api.services.speech import SpeechOptions
from api.services.speech_turns import TurnSettings
from common.audio_formats import StreamFormat
from common.limits import MAX_SPEED, MIN_SPEED
from core.errors import InvalidRequest
from core.seed import Seed
from core.speech.requests import InputType

MAX_MESSAGE_CHARACTERS = 20_000


class SessionUpdate(StrictModel, SamplingFields):
    """Settings of all turns from now on; what is left out gets its default."""

    type: Literal["session.update"]
    voice: str = Field("", max_length=200)
    language: str = Field("auto", max_length=40)
    format: StreamFormat = "pcm"
    audio: Literal["binary", "base64"] = "binary"
    speed: float = Field(1.0, ge=MIN_SPEED, le=MAX_SPEED)
    seed: Seed | None = None
    emotion: str = Field("", max_length=100)
    input_type: InputType = "auto"
    pronunciations: dict[str, str] | None = None

    def turn_settings(self) -> TurnSettings:
        """Return the settings of a turn."""
        options = SpeechOptions(
            language=self.language,
            speed=self.speed,
            seed=self.seed,
            prompt_name=self.emotion,
            input_type=self.input_type,
            pronunciations=self.pronunciations or {},
            extra_references=tuple(self.extra_references or ()),
            sampling=self.sampling_options(),
            text_split_method=self.text_split_method,
            sample_rate=self.sample_rate or 0,
        )
        return TurnSettings(self.voice, options, self.format, base64_audio=self.audio == "base64")


class TextAppend(StrictModel):
    """More of the text."""

    type: Literal["text.append"]
    text: str = Field(max_length=MAX_MESSAGE_CHARACTERS)


class TextFlush(StrictModel):
    """Speak what is there, although its sentence is not complete."""

    type: Literal["text.flush"]


class TextDone(StrictModel):
    """The text of this turn is complete."""

    type: Literal["text.done"]


class Cancel(StrictModel):
    """Stop speaking, and forget what waits."""

    type: Literal["cancel"]


ClientMessage = Annotated[
    SessionUpdate | TextAppend | TextFlush | TextDone | Cancel,
    Field(discriminator="type"),
]
_adapter: TypeAdapter[SessionUpdate | TextAppend | TextFlush | TextDone | Cancel] = TypeAdapter(ClientMessage)


def read_message(content: str) -> SessionUpdate | TextAppend | TextFlush | TextDone | Cancel:
    """Return a client's message. Raises InvalidRequest, which names the field."""
    try:
        return _adapter.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part not in _TYPES)
        raise InvalidRequest(
            f"The message is none of a speech stream: {place or 'message'}: {first['msg']}.",
            hint=f"Messages are JSON objects with a `type`: {', '.join(_TYPES)}.",
        ) from None


_TYPES = ("session.update", "text.append", "text.flush", "text.done", "cancel")
