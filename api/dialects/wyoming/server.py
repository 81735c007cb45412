"""The server: describe, synthesize, and synthesis of text that is still being written."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from api.dependencies import ApiServices
from api.dialects.wyoming.events import MAX_LINE_BYTES, WyomingEvent, read_event, write_event
from api.services.audio_chunks import AudioChunk
from api.services.speech import SpeechOptions
from api.services.speech_turns import SpeechTurns, Turn, TurnSettings
from common.package_version import package_version
from core.access import ANONYMOUS, LOCAL, act_as
from core.cancellation import cancel_and_wait
from core.errors import InvalidRequest, SovitsError
from core.records import VoiceRecord
from core.speech.requests import InputType
from core.speech.verification import summarize_verified

logger = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 64
ATTRIBUTION: Final = {"name": "sovitsd", "url": ""}
SAMPLE_BYTES: Final = 2


@contextlib.asynccontextmanager
async def wyoming_server(services: ApiServices) -> AsyncIterator[None]:
    """Serve at WYOMING_HOST and WYOMING_PORT while the block runs; without a port, nothing is served.

    The protocol has no keys: where the API asks for one, its clients see shared voices only.
    """
    settings = services.settings
    if not settings.wyoming_port:
        yield
        return
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            if len(connections) <= MAX_CONNECTIONS:
                await _serve(services, reader, writer)
        finally:
            connections.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, settings.wyoming_host, settings.wyoming_port, limit=MAX_LINE_BYTES)
    port = server.sockets[0].getsockname()[1]
    logger.info("Wyoming (Home Assistant) is served at tcp://%s:%d.", settings.wyoming_host, port)
    try:
        yield
    finally:
        server.close()
        for task in list(connections):
            await cancel_and_wait(task)
        await server.wait_closed()


async def _serve(services: ApiServices, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    caller = ANONYMOUS if await services.keys.required() else LOCAL
    with act_as(caller), suppress(ConnectionError):
        connection = _Connection(services, writer)
        turns = SpeechTurns(services.speech, connection, TurnSettings())
        await turns.serve(_receive(connection, turns, reader))


async def _receive(connection: _Connection, turns: SpeechTurns, reader: asyncio.StreamReader) -> None:
    """Translate events to calls until the client leaves."""
    streaming = False
    while True:
        try:
            event = await read_event(reader)
            if event is None:
                return
            if event.kind == "describe":
                await connection.describe()
            elif event.kind == "ping":
                await connection.send("pong", {"text": event.data.get("text")})
            elif event.kind == "synthesize" and not streaming:  # in a stream it repeats all of the text
                connection.streaming = False
                turns.configure(_turn_settings(event))
                turns.append(_text(event))
                turns.done()
            elif event.kind == "synthesize-start":
                streaming = connection.streaming = True
                turns.configure(_turn_settings(event))
            elif event.kind == "synthesize-chunk" and streaming:
                turns.append(_text(event))
            elif event.kind == "synthesize-stop":
                streaming = False
                turns.append("")  # a stream without a text has an empty turn
                turns.done()
        except SovitsError as error:
            await connection.failed(None, error)
            if isinstance(error, InvalidRequest):
                return  # the next event cannot be found


def _text(event: WyomingEvent) -> str:
    text = event.data.get("text")
    if not isinstance(text, str):
        raise InvalidRequest("The event has no text.")
    return text


def _turn_settings(event: WyomingEvent) -> TurnSettings:
    """Return the settings of an event's voice: a name, or else a language."""
    voice = event.data.get("voice")
    name, language = (str(voice.get(key) or "") if isinstance(voice, dict) else "" for key in ("name", "language"))
    input_type: InputType = "ssml" if event.data.get("text_format") == "ssml" else "text"
    options = SpeechOptions(language=language.partition("-")[0].partition("_")[0] or "auto")
    return TurnSettings(name, replace(options, input_type=input_type))


class _Connection:
    """Sends the events of turns."""

    def __init__(self, services: ApiServices, writer: asyncio.StreamWriter) -> None:
        self.streaming = False
        """Whether the present turn came in pieces."""
        self._services = services
        self._writer = writer
        self._sending = asyncio.Lock()
        self._started = False

    async def send(self, kind: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> None:
        """Send one event."""
        async with self._sending:
            await write_event(self._writer, kind, data, payload)

    async def describe(self) -> None:
        """Say which voices there are."""
        voices = await self._services.voices.list_all()
        version = package_version()
        program = {
            "name": "sovitsd",
            "description": "Voices of this server",
            "attribution": ATTRIBUTION,
            "installed": True,
            "version": version,
            "voices": [_voice(voice, version) for voice in voices],
            "supports_synthesize_streaming": True,
        }
        nothing: dict[str, Any] = {name: [] for name in ("asr", "handle", "intent", "wake", "mic", "snd")}
        await self.send("info", nothing | {"tts": [program]})

    async def turn_started(self, turn: Turn) -> None:
        """Wait for the first audio, which knows its rate."""
        self._started = False

    async def audio(self, turn: Turn, encoded: bytes, chunk: AudioChunk) -> None:
        """Send audio."""
        if encoded:
            await self._start(chunk.sample_rate, turn.take_label())
            await self.send("audio-chunk", _format(chunk.sample_rate), encoded)

    async def turn_done(self, turn: Turn, *, cancelled: bool) -> None:
        """Close the audio; a stream of text is closed, too."""
        await self._start(turn.sample_rate, turn.take_label())
        await self.send("audio-stop", {"verification": summarize_verified(turn.verified)} if turn.verified else None)
        if self.streaming:
            await self.send("synthesize-stopped")

    async def failed(self, turn: Turn | None, error: SovitsError) -> None:
        """Send an error, and close what a client waits for."""
        await self.send("error", {"text": error.sentences, "code": error.code})
        if turn is not None and self.streaming:
            await self.send("synthesize-stopped")

    async def _start(self, sample_rate: int, label: dict[str, str] | None) -> None:
        if not self._started:
            self._started = True
            await self.send("audio-start", _format(sample_rate) | ({"aigc": label} if label else {}))


def _format(sample_rate: int) -> dict[str, Any]:
    return {"rate": sample_rate or 16_000, "width": SAMPLE_BYTES, "channels": 1}


def _voice(voice: VoiceRecord, version: str) -> dict[str, Any]:
    return {
        "name": voice.name,
        "description": voice.name,
        "attribution": ATTRIBUTION,
        "installed": True,
        "version": version,
        "languages": [voice.language.removeprefix("all_")] if voice.language not in ("", "auto") else ["en", "zh"],
        "speakers": None,
    }
