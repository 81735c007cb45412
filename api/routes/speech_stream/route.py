"""Text in, audio out, at the same time: the WebSocket `/v1/audio/speech/stream` (docs/speech-stream.md)."""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Final

import orjson
from fastapi import APIRouter, WebSocket

from api.dependencies import SocketApi
from api.http.access import require_scope
from api.http.localization import localized, localized_error
from api.routes.speech_stream.messages import Cancel, SessionUpdate, TextAppend, TextDone, TextFlush, read_message
from api.services.audio_chunks import AudioChunk
from api.services.speech_turns import SpeechTurns, Turn, TurnSettings
from core.access import Scope
from core.errors import SovitsError
from core.speech.words import WordTiming

router = APIRouter(
    prefix="/v1",
    tags=["Speech"],
    dependencies=[require_scope(Scope.SPEAK)],
)

UNREADABLE: Final = 1003
"""Closing code for a binary message, which nothing here is."""


@router.websocket("/audio/speech/stream")
async def speech_stream(websocket: WebSocket, api: SocketApi) -> None:
    """Speak text that is still being written.

    Several turns may follow one another. A caller's mistake is answered with `error`; the connection stays open.
    """
    await websocket.accept()
    connection = _Connection(websocket)
    turns = SpeechTurns(api.speech, connection, TurnSettings())
    await turns.serve(_receive(websocket, connection, turns))


async def _receive(websocket: WebSocket, connection: _Connection, turns: SpeechTurns) -> None:
    """Translate messages to calls until the client leaves."""
    while True:
        received = await websocket.receive()
        if received["type"] == "websocket.disconnect":
            return
        if received.get("text") is None:
            await websocket.close(UNREADABLE, "Messages are JSON in text frames.")
            return
        try:
            message = read_message(received["text"])
            if isinstance(message, SessionUpdate):
                turns.configure(message.turn_settings())
                await connection.send("session.updated", session=message.model_dump(exclude={"type"}))
            elif isinstance(message, TextAppend):
                turns.append(message.text)
            elif isinstance(message, TextFlush):
                turns.flush()
            elif isinstance(message, TextDone):
                turns.done()
            elif isinstance(message, Cancel):
                turns.cancel()
        except SovitsError as error:
            await connection.failed(None, error)


class _Connection:
    """Sends the events of turns as messages."""

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self._sending = asyncio.Lock()
        self._words: list[WordTiming] = []
        """Those of the utterance that is being sent."""
        self._late_words: list[WordTiming] = []
        """Words whose audio the encoder still holds."""

    async def send(self, kind: str, **fields: Any) -> None:
        """Send one event."""
        async with self._sending:
            await self.websocket.send_text(orjson.dumps({"type": kind, **fields}).decode())

    async def turn_started(self, turn: Turn) -> None:
        """Tell which turn begins."""
        self._words, self._late_words = [], []
        await self.send("turn.started", turn=turn.number, format=turn.settings.audio_format)

    async def audio(self, turn: Turn, encoded: bytes, chunk: AudioChunk) -> None:
        """Send audio with the words that end in it, and at the end of an utterance all of its words."""
        self._words += chunk.words
        self._late_words += chunk.words
        if encoded:
            words, self._late_words = self._late_words, []
            shown: dict[str, Any] = {
                "turn": turn.number,
                "utterance": chunk.utterance,
                **({"voice_id": chunk.voice_id} if chunk.voice_id else {}),
                "sample_rate": turn.sample_rate,
                **({"words": words} if words else {}),
            }
            if label := turn.take_label():
                shown["aigc"] = label
            if turn.settings.base64_audio:
                await self.send("audio.delta", **shown, audio=base64.b64encode(encoded).decode())
            else:
                message = orjson.dumps({"type": "audio.delta", **shown, "bytes": len(encoded)})
                async with self._sending:  # the frame belongs to the message before it
                    await self.websocket.send_text(message.decode())
                    await self.websocket.send_bytes(encoded)
        if chunk.last and chunk.text and turn.spoken:
            spoken = turn.spoken[-1]
            words, self._words = self._words, []
            await self.send(
                "words",
                turn=turn.number,
                utterance=chunk.utterance,
                voice_id=chunk.voice_id,
                text=spoken.text,
                start=spoken.start,
                end=spoken.end,
                words=words,
            )
        if chunk.marks:
            await self.send("marks", turn=turn.number, utterance=chunk.utterance, marks=chunk.marks)
        if chunk.verified and chunk.verification:
            await self.send("verified", turn=turn.number, utterance=chunk.utterance, **chunk.verification)

    async def turn_done(self, turn: Turn, *, cancelled: bool) -> None:
        """Tell what was spoken."""
        await self.send(
            "turn.done",
            turn=turn.number,
            cancelled=cancelled,
            seconds=round(turn.seconds, 3),
            spoken=[
                {"text": spoken.text, "start": spoken.start, "end": spoken.end, "complete": spoken.complete}
                for spoken in turn.spoken
            ],
            warnings=[localized(warning) for warning in turn.warnings],
        )

    async def failed(self, turn: Turn | None, error: SovitsError) -> None:
        """Report an error."""
        await self.send("error", turn=turn.number if turn else None, error=localized_error(error.as_dict()))
