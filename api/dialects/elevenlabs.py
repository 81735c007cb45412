"""ElevenLabs' `stream-input`: text in and audio out over one WebSocket, as its clients and many voice agents use it."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any, Final

import orjson
from fastapi import APIRouter, Query, WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from api.dependencies import SocketApi
from api.http.access import require_scope
from api.services.audio_chunks import AudioChunk
from api.services.speech import SpeechOptions
from api.services.speech_turns import SpeechTurns, Turn, TurnSettings
from common.audio_formats import StreamFormat
from common.limits import MAX_SPEED, MIN_SPEED
from core.access import Scope
from core.errors import InvalidRequest, SovitsError
from core.speech.verification import VerifiedUtterance
from core.speech.words import WordTiming

router = APIRouter(
    prefix="/v1/text-to-speech",
    tags=["ElevenLabs"],
    dependencies=[require_scope(Scope.SPEAK)],
)

DEFAULT_FORMAT: Final = "mp3_44100_128"
FORMATS: Final[dict[str, StreamFormat]] = {
    "mp3": "mp3",
    "pcm": "pcm",
    "opus": "opus",
    "ulaw": "pcm_mulaw",
    "alaw": "pcm_alaw",
}
_FORMAT: Final = re.compile(r"([a-z0-9]+)_(\d{4,5})(?:_\d+)?")
NORMAL_END: Final = 1000
POLICY_VIOLATION: Final = 1008
"""Closing code of a request that cannot be spoken, as the service uses it."""


class VoiceSettings(BaseModel):
    """What a client sets of a voice; all but the speed belongs to other models."""

    model_config = ConfigDict(extra="ignore")

    speed: float | None = Field(None, ge=MIN_SPEED, le=MAX_SPEED)


class StreamInput(BaseModel):
    """A message: more text, or the end of it where the text is empty."""

    model_config = ConfigDict(extra="ignore")

    text: str
    flush: bool = False
    voice_settings: VoiceSettings | None = None


@router.websocket("/{voice_id}/stream-input")
async def stream_input(
    websocket: WebSocket,
    voice_id: str,
    api: SocketApi,
    output_format: str = DEFAULT_FORMAT,
    language_code: str = Query("auto", max_length=40),
    seed: int | None = Query(None, ge=0, lt=2**32),
    sync_alignment: bool = False,
) -> None:
    """Speak text while it arrives; the connection is closed behind the last audio."""
    await websocket.accept()
    connection = _Connection(websocket, sync_alignment)
    try:
        settings = _turn_settings(voice_id, output_format, language_code, seed)
    except InvalidRequest as error:
        await connection.failed(None, error)
        return
    turns = SpeechTurns(api.speech, connection, settings)
    await turns.serve(_receive(connection, turns))


def _turn_settings(voice: str, output_format: str, language: str, seed: int | None) -> TurnSettings:
    match = _FORMAT.fullmatch(output_format)
    if match is None or match[1] not in FORMATS or not 8_000 <= int(match[2]) <= 48_000:
        raise InvalidRequest(
            f"The output_format {output_format[:40]!r} is none.",
            hint="mp3_44100_128, opus_48000_64 or pcm_24000, for example.",
        )
    return TurnSettings(
        voice, SpeechOptions(language=language, seed=seed, sample_rate=int(match[2])), FORMATS[match[1]]
    )


async def _receive(connection: _Connection, turns: SpeechTurns) -> None:
    """Translate messages to calls until the client leaves or all was spoken."""
    spoken = ""
    while True:
        received = await connection.websocket.receive()
        if received["type"] == "websocket.disconnect":
            return
        try:
            message = StreamInput.model_validate_json(received.get("text") or "")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            await connection.failed(None, InvalidRequest(f"The message is none of stream-input: {first['msg']}."))
            return
        if message.voice_settings is not None and message.voice_settings.speed is not None:
            options = replace(turns.settings.options, speed=message.voice_settings.speed)
            turns.configure(replace(turns.settings, options=options))
        try:
            if not message.text:
                turns.done()
                if not spoken.strip():
                    await connection.end()
                    return
            elif spoken or message.text.strip():  # the first message is a blank
                spoken += message.text
                turns.append(message.text)
            if message.flush:
                turns.flush()
        except SovitsError as error:
            await connection.failed(None, error)
            return


class CharacterAlignment(TypedDict):
    """When each character is heard, in milliseconds from the start of the message's audio."""

    chars: list[str]
    charStartTimesMs: list[int]
    charDurationsMs: list[int]


def _alignment(words: list[WordTiming], begin: float) -> CharacterAlignment:
    """Return the characters of words, each with its share of its word; a space lasts until the next word."""
    alignment: CharacterAlignment = {"chars": [], "charStartTimesMs": [], "charDurationsMs": []}

    def add(character: str, start: float, end: float) -> None:
        milliseconds = max(0, round((start - begin) * 1000))
        alignment["chars"].append(character)
        alignment["charStartTimesMs"].append(milliseconds)
        alignment["charDurationsMs"].append(max(0, round((end - begin) * 1000) - milliseconds))

    for index, word in enumerate(words):
        share = (word["end"] - word["start"]) / max(1, len(word["text"]))
        for number, character in enumerate(word["text"]):
            add(character, word["start"] + number * share, word["start"] + (number + 1) * share)
        if word.get("space_after", True):
            following = words[index + 1]["start"] if index + 1 < len(words) else word["end"]
            add(" ", word["end"], max(word["end"], following))
    return alignment


class _Connection:
    """Sends audio in the service's messages."""

    def __init__(self, websocket: WebSocket, sync_alignment: bool) -> None:
        self.websocket = websocket
        self.sync_alignment = sync_alignment
        self._words: list[WordTiming] = []
        """Words whose audio was not sent yet."""
        self._verified: list[VerifiedUtterance] = []
        """Utterances that have ended, of which the client was not told yet."""
        self._heard_seconds = self._sent_seconds = 0.0
        """Of the audio that was encoded, and that was sent."""

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        await self.websocket.send_text(orjson.dumps(message).decode())

    async def turn_started(self, turn: Turn) -> None:
        """Say nothing: the service has no such message."""

    async def audio(self, turn: Turn, encoded: bytes, chunk: AudioChunk) -> None:
        """Send audio, with the characters of the words that end in it where the client asked for them."""
        self._words += chunk.words
        if chunk.verified:
            self._verified.append(chunk.verified)
        self._heard_seconds += len(chunk.samples) / 2 / chunk.sample_rate
        if encoded:
            words, self._words = self._words, []
            alignment = _alignment(words, self._sent_seconds) if self.sync_alignment and words else None
            self._sent_seconds = self._heard_seconds
            audio = base64.b64encode(encoded).decode()
            message: dict[str, object] = {
                "audio": audio,
                "isFinal": None,
                "normalizedAlignment": alignment,
                "alignment": alignment,
            }
            if self._verified:
                message["verified"], self._verified = self._verified, []
            label = turn.take_label()
            await self.send(message | {"aigc": label} if label else message)

    async def turn_done(self, turn: Turn, *, cancelled: bool) -> None:
        """End the connection, which has one turn."""
        await self.end()

    async def end(self) -> None:
        """Send the last message and close the connection."""
        rest = {"verified": self._verified} if self._verified else {}
        await self.send({"audio": None, "isFinal": True, **rest})
        await self.websocket.close(NORMAL_END)

    async def failed(self, turn: Turn | None, error: SovitsError) -> None:
        """Send the error and close the connection with it."""
        await self.send({"message": error.sentences, "error": error.code, "code": POLICY_VIOLATION})
        await self.websocket.close(POLICY_VIOLATION, error.code)
