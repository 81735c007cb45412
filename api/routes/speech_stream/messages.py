"""The messages of a speech stream: what a client sends."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from api.http.schemas import StrictModel
from api.services.speech_fields import SpeechFields
from api.services.speech_turns import TurnSettings
from common.audio_formats import StreamFormat
from core.errors import InvalidRequest
from core.speech.checks import check_pronunciations

MAX_MESSAGE_CHARACTERS = 20_000


class SessionUpdate(StrictModel, SpeechFields):
    """Settings of all turns from now on; what is left out gets its default."""

    type: Literal["session.update"]
    voice: str = Field("", max_length=200)
    format: StreamFormat = "pcm"
    audio: Literal["binary", "base64"] = "binary"

    def turn_settings(self) -> TurnSettings:
        """Return the settings of a turn. Raises InvalidRequest for a dictionary that is too large."""
        check_pronunciations(self.pronunciations or {})
        return TurnSettings(self.voice, self.speech_options(), self.format, base64_audio=self.audio == "base64")


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
