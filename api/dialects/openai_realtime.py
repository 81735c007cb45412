"""A part of OpenAI's Realtime API: text in, speech out.

There is no language model behind it: a response speaks the text of the message that came last, word for word. Recorded
speech of a caller, tools and transcription are rejected by name. Clients of the beta get its names of events.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any, Final

import orjson
from fastapi import APIRouter, Query, WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.dependencies import SocketApi
from api.http.access import require_scope
from api.services.audio_chunks import AudioChunk
from api.services.speech import SpeechOptions
from api.services.speech_turns import SpeechTurns, Turn, TurnSettings
from core.access import Scope
from core.errors import InvalidRequest, SovitsError
from core.ids import new_id
from core.speech.verification import summarize_verified
from core.speech.words import WordTiming

router = APIRouter(
    prefix="/v1",
    tags=["OpenAI"],
    dependencies=[require_scope(Scope.SPEAK)],
)

SAMPLE_RATE: Final = 24_000
"""Of `audio/pcm`; clients expect no other."""
DEFAULT_MODEL: Final = "gpt-realtime"
BETA_NAMES: Final = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
}


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class AudioFormatObject(_Lenient):
    """`{"type": "audio/pcm", "rate": 24000}`."""

    type: str = "audio/pcm"
    rate: int = SAMPLE_RATE


class AudioOutput(_Lenient):
    """How a session speaks."""

    voice: str | None = None
    speed: float | None = Field(None, ge=0.25, le=4.0)
    format: AudioFormatObject | None = None


class SessionAudio(_Lenient):
    """The part of a session that is about audio."""

    output: AudioOutput = Field(default_factory=AudioOutput)


class Session(_Lenient):
    """A session's settings, in the present form and in the beta's."""

    audio: SessionAudio = Field(default_factory=SessionAudio)
    voice: str | None = None
    speed: float | None = Field(None, ge=0.25, le=4.0)
    output_audio_format: str | None = None


class ContentPart(_Lenient):
    """A part of a message."""

    type: str = ""
    text: str | None = None


class Item(_Lenient):
    """A message of the conversation."""

    id: str = ""
    type: str = "message"
    role: str = "user"
    content: list[ContentPart] = Field(default_factory=list)

    @property
    def text(self) -> str:
        """All of its text."""
        return " ".join(part.text for part in self.content if part.text)


class ResponseRequest(_Lenient):
    """What a response is made from in place of the conversation."""

    input: list[Item] | None = None


class ClientEvent(_Lenient):
    """An event of the client."""

    type: str
    event_id: str | None = None
    session: Session = Field(default_factory=Session)
    item: Item = Field(default_factory=Item)
    response: ResponseRequest = Field(default_factory=ResponseRequest)


@router.websocket("/realtime")
async def realtime(websocket: WebSocket, api: SocketApi, model: str = Query(DEFAULT_MODEL, max_length=200)) -> None:
    """Speak the messages of a conversation."""
    protocols = websocket.scope.get("subprotocols") or []
    await websocket.accept("realtime" if "realtime" in protocols else None)
    settings = TurnSettings(options=SpeechOptions(sample_rate=SAMPLE_RATE))
    connection = _Connection(websocket, model, beta="realtime" in websocket.headers.get("openai-beta", ""))
    turns = SpeechTurns(api.speech, connection, settings)
    connection.settings = settings
    await connection.send("session.created", session=connection.session())
    await turns.serve(_receive(connection, turns))


async def _receive(connection: _Connection, turns: SpeechTurns) -> None:
    """Translate events to calls until the client leaves."""
    text = ""
    while True:
        received = await connection.websocket.receive()
        if received["type"] == "websocket.disconnect":
            return
        try:
            event = _read(received.get("text") or "")
            if event.type == "session.update":
                connection.settings = _turn_settings(event.session, connection.settings)
                turns.configure(connection.settings)
                await connection.send("session.updated", session=connection.session())
            elif event.type == "conversation.item.create":
                text = event.item.text
                item = event.item.model_dump() | {"id": event.item.id or new_id("item"), "object": "realtime.item"}
                for kind in ("conversation.item.added", "conversation.item.done"):
                    await connection.send(kind, item=item | {"status": "completed"}, previous_item_id=None)
            elif event.type == "response.create":
                spoken = " ".join(item.text for item in event.response.input or ()) or text
                if not spoken.strip():
                    raise InvalidRequest(
                        "There is no text to speak.", hint="Send conversation.item.create with an input_text before."
                    )
                turns.append(spoken)
                turns.done()
            elif event.type == "response.cancel":
                turns.cancel()
            else:
                raise InvalidRequest(
                    f"The event {event.type[:60]!r} does not exist here, where text becomes speech.",
                    hint="session.update, conversation.item.create, response.create and response.cancel work.",
                )
        except SovitsError as error:
            await connection.failed(None, error)


def _read(content: str) -> ClientEvent:
    try:
        return ClientEvent.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "event"
        raise InvalidRequest(f"The event cannot be read: {place}: {first['msg']}.") from None


def _turn_settings(session: Session, settings: TurnSettings) -> TurnSettings:
    """Return the settings of a session after an update. Raises InvalidRequest for an audio format that is not there."""
    output = session.audio.output
    kind = output.format.type if output.format is not None else session.output_audio_format or "audio/pcm"
    rate = output.format.rate if output.format is not None else SAMPLE_RATE
    if kind not in ("audio/pcm", "pcm16") or rate != SAMPLE_RATE:
        raise InvalidRequest(
            f"The audio format {kind[:40]!r} at {rate} Hz does not exist here.", hint="audio/pcm at 24000 Hz works."
        )
    speed = output.speed or session.speed
    options = replace(settings.options, speed=speed) if speed else settings.options
    return replace(settings, voice=output.voice or session.voice or settings.voice, options=options)


class _Connection:
    """Sends the events of turns under OpenAI's names."""

    def __init__(self, websocket: WebSocket, model: str, *, beta: bool) -> None:
        self.websocket = websocket
        self.settings = TurnSettings()
        self._model = model
        self._beta = beta
        self._session_id = new_id("sess")
        self._response_id = ""
        self._item_id = ""
        self._words: list[WordTiming] = []
        """Those so far of the utterance that is heard."""

    def session(self) -> dict[str, Any]:
        """Return the session as its client sees it."""
        output = {
            "format": {"type": "audio/pcm", "rate": SAMPLE_RATE},
            "voice": self.settings.voice or "default",
            "speed": self.settings.options.speed,
        }
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": self._session_id,
            "model": self._model,
            "output_modalities": ["audio"],
            "audio": {"output": output},
        }

    async def send(self, kind: str, **fields: Any) -> None:
        """Send one event."""
        name = BETA_NAMES.get(kind, kind) if self._beta else kind
        if self._beta and kind == "conversation.item.done":
            return
        message = {"type": name, "event_id": new_id("event"), **fields}
        await self.websocket.send_text(orjson.dumps(message).decode())

    async def turn_started(self, turn: Turn) -> None:
        """Open the response, its item and the item's part."""
        self._response_id, self._item_id, self._words = new_id("resp"), new_id("item"), []
        await self.send("response.created", response=self._response("in_progress", []))
        await self.send(
            "response.output_item.added",
            response_id=self._response_id,
            output_index=0,
            item=self._item("in_progress", ""),
        )
        await self._send_part("response.content_part.added", part={"type": "audio", "transcript": ""})

    async def audio(self, turn: Turn, encoded: bytes, chunk: AudioChunk) -> None:
        """Send audio, and the text of an utterance when it ends, with its words and its verification as extensions."""
        self._words += chunk.words
        if encoded:
            label = turn.take_label()
            labelled = {"aigc": label} if label else {}
            await self._send_part("response.output_audio.delta", delta=base64.b64encode(encoded).decode(), **labelled)
        if chunk.last and chunk.text:
            words, self._words = self._words, []
            extensions = {"words": words, "verified": chunk.verified}
            shown = {name: value for name, value in extensions.items() if value}
            await self._send_part("response.output_audio_transcript.delta", delta=chunk.text + " ", **shown)

    async def turn_done(self, turn: Turn, *, cancelled: bool) -> None:
        """Close what `turn_started` opened."""
        text = turn.spoken_text
        status = "cancelled" if cancelled else "completed"
        await self._send_part("response.output_audio.done")
        await self._send_part("response.output_audio_transcript.done", transcript=text)
        await self._send_part("response.content_part.done", part={"type": "audio", "transcript": text})
        item = self._item("incomplete" if cancelled else "completed", text)
        await self.send("response.output_item.done", response_id=self._response_id, output_index=0, item=item)
        summary = {"verification": summarize_verified(turn.verified)} if turn.verified else {}
        await self.send("response.done", response=self._response(status, [item]) | summary)

    async def failed(self, turn: Turn | None, error: SovitsError) -> None:
        """Report an error, and close the response that it ended."""
        kind = "server_error" if error.status >= 500 else "invalid_request_error"
        shown = {"type": kind, "code": error.code, "message": error.sentences, "param": None, "event_id": None}
        await self.send("error", error=shown)
        if turn is not None and self._response_id:
            await self.send("response.done", response=self._response("failed", []))
            self._response_id = ""

    async def _send_part(self, kind: str, **fields: Any) -> None:
        place = {"response_id": self._response_id, "item_id": self._item_id, "output_index": 0, "content_index": 0}
        await self.send(kind, **place, **fields)

    def _item(self, status: str, text: str) -> dict[str, Any]:
        content = [{"type": "output_audio", "transcript": text}] if text else []
        return {
            "id": self._item_id,
            "object": "realtime.item",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._response_id,
            "object": "realtime.response",
            "status": status,
            "output": output,
            "output_modalities": ["audio"],
        }
