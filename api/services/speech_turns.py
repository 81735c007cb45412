"""Turns of speech over one connection: text comes in pieces, audio goes out, one turn after the other.

Dialects translate their messages to the methods of `SpeechTurns`, and what it tells a `TurnListener` to messages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from starlette.websockets import WebSocketDisconnect

from api.services.audio_chunks import AudioChunk
from api.services.encoding import AudioEncoder, feed_encoder, finish_encoder, open_encoder
from api.services.resampling import resampled
from api.services.speech import SpeechOptions, SpeechService
from api.services.speech_session import SpeechSession, SpokenText
from common.audio_formats import StreamFormat, encoded_rate
from core.cancellation import cancel_and_wait
from core.errors import SovitsError, TextTooLong
from core.marks.speech_label import SpeechLabel
from core.records import VoiceRecord
from core.speech.verification import VerifiedUtterance


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """How the text of a turn is spoken and encoded."""

    voice: str = ""
    """Name or id; empty: the newest one."""
    options: SpeechOptions = field(default_factory=SpeechOptions)
    audio_format: StreamFormat = "pcm"
    base64_audio: bool = False
    """For the listener: whether its client wants audio as text."""


@dataclass(slots=True)
class Turn:
    """One turn, as far as it has come."""

    number: int
    settings: TurnSettings
    spoken: list[SpokenText] = field(default_factory=list)
    """Utterances whose audio was sent; of a cancelled turn, the last one may be incomplete."""
    warnings: list[str] = field(default_factory=list)
    """What of the text the voice cannot speak well: a code and what it is about."""
    seconds: float = 0.0
    """Duration of the audio that was sent."""
    sample_rate: int = 0
    """Of the encoded audio, in Hz; 0 before the first."""
    label: SpeechLabel | None = None
    """What its metadata say; None before the first audio, and where they are off."""
    label_sent: bool = False
    verified: list[VerifiedUtterance] = field(default_factory=list)
    """How the utterances that have ended were verified."""

    def take_label(self) -> dict[str, str] | None:
        """Return the fields of the label, for the first message with audio; None in all later ones."""
        if self.label is None or self.label_sent:
            return None
        self.label_sent = True
        return self.label.fields

    @property
    def spoken_text(self) -> str:
        """The text of which audio was sent."""
        return " ".join(spoken.text for spoken in self.spoken)


class TurnListener(Protocol):
    """Sends what happens in a turn. A slow one delays the synthesis and fills no memory."""

    async def turn_started(self, turn: Turn) -> None:
        """Handle the beginning: a text was accepted."""

    async def audio(self, turn: Turn, encoded: bytes, chunk: AudioChunk) -> None:
        """Send encoded audio, maybe none; the chunk says of which utterance it is, and `last` at its end."""

    async def turn_done(self, turn: Turn, *, cancelled: bool) -> None:
        """Handle the end: all was sent, or the turn was cancelled."""

    async def failed(self, turn: Turn | None, error: SovitsError) -> None:
        """Report a text or settings that cannot be spoken, or a synthesis that failed; the turn has ended."""


class _Kind(StrEnum):
    APPEND = "append"
    FLUSH = "flush"
    DONE = "done"
    CONFIGURE = "configure"


@dataclass(frozen=True, slots=True)
class _Command:
    kind: _Kind
    text: str = ""
    settings: TurnSettings | None = None


class SpeechTurns:
    """The turns of one connection. Its methods return at once; `run` does the work until it is cancelled."""

    def __init__(self, speech: SpeechService, listener: TurnListener, settings: TurnSettings) -> None:
        self.settings = settings
        """Of the next turn."""
        self._speech = speech
        self._listener = listener
        self._commands: deque[_Command] = deque()
        self._changed = asyncio.Event()
        self._waiting_characters = 0
        self._cancelled = False
        self._count = 0

    def configure(self, settings: TurnSettings) -> None:
        """Speak with other settings from the next turn on."""
        self._put(_Command(_Kind.CONFIGURE, settings=settings))

    def append(self, text: str) -> None:
        """Add text to the turn, or begin one. TextTooLong when more waits than one turn may have.

        A turn to which only empty text was added is empty, and ends like any other.
        """
        longest = self._speech.settings.max_text_characters
        if self._waiting_characters + len(text) > longest:
            raise TextTooLong(
                f"More than {longest:,} characters wait to be spoken.", hint="Send the rest when some were heard."
            )
        self._waiting_characters += len(text)
        self._put(_Command(_Kind.APPEND, text))

    def flush(self) -> None:
        """Speak what was appended without waiting for the end of a sentence."""
        self._put(_Command(_Kind.FLUSH))

    def done(self) -> None:
        """End the turn behind what was appended."""
        self._put(_Command(_Kind.DONE))

    def cancel(self) -> None:
        """End the turn at once and forget everything that waits."""
        while self._commands:
            self._take(self._commands.popleft())
        self._cancelled = True
        self._changed.set()

    async def serve(self, receiving: Coroutine[Any, Any, None]) -> None:
        """Speak while a coroutine receives messages and calls the methods above; end when it does."""
        tasks = {asyncio.create_task(self.run()), asyncio.create_task(receiving)}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                await cancel_and_wait(task)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) and not isinstance(error, WebSocketDisconnect):
                raise error

    async def run(self) -> None:
        """Speak one turn after the other; what follows of one that failed is ignored until it is done or cancelled."""
        failed = blank = False
        while True:
            command = await self._next_command()
            if command is None:
                failed = blank = False
            elif command.kind is _Kind.CONFIGURE:
                failed = False
            elif command.kind is _Kind.APPEND and not command.text:
                blank = not failed
            elif command.kind is _Kind.APPEND and not failed:
                failed, blank = not await self._run_turn(command.text), False
            elif command.kind is _Kind.DONE and blank:
                self._commands.appendleft(command)  # it ends the turn
                failed, blank = not await self._run_turn(""), False
            elif command.kind is _Kind.DONE:
                failed = False

    async def _run_turn(self, text: str) -> bool:
        """Speak a turn that begins with this text; return whether it came to its end."""
        self._count += 1
        turn = Turn(self._count, self.settings)
        try:
            voice = await self._find_voice(turn.settings, text)
            await self._speech.check_ready()
            async with self._speech.session(voice, turn.settings.options) as session:
                await self._listener.turn_started(turn)
                sending = asyncio.create_task(self._send(turn, session))
                try:
                    cancelled = await self._feed(session, text, sending)
                    if cancelled:
                        await cancel_and_wait(sending)
                    else:
                        await sending
                finally:
                    await cancel_and_wait(sending)
            await self._listener.turn_done(turn, cancelled=cancelled)
        except SovitsError as error:
            await self._listener.failed(turn, error)
            return False
        return True

    async def _find_voice(self, settings: TurnSettings, text: str) -> VoiceRecord:
        voices = self._speech.voices
        if not settings.voice:
            return await voices.newest(text, settings.options.language)
        return await voices.find(settings.voice, text, settings.options.language)

    async def _feed(self, session: SpeechSession, text: str, sending: asyncio.Task[None]) -> bool:
        """Pass on the text until the turn is done and sent; return whether it was cancelled instead."""
        done = await self._append(session, text)
        while not sending.done():
            if done:
                return await self._wait_for_cancel(sending)
            command = await self._next_command(sending)
            if command is None:
                return not sending.done()
            if command.kind is _Kind.APPEND:
                done = await self._append(session, command.text)
            elif command.kind is _Kind.FLUSH:
                await session.flush()
            elif command.kind is _Kind.DONE:
                await session.done()
                done = True
        return False

    async def _append(self, session: SpeechSession, text: str) -> bool:
        """Pass on a text and those that wait behind it; return whether that was the end of the turn.

        What is known to be complete is not cut where a sentence could go on.
        """
        pieces = [text]
        while self._commands and self._commands[0].kind in (_Kind.APPEND, _Kind.DONE):
            command = self._take(self._commands.popleft())
            if command.kind is _Kind.DONE:
                await session.done("".join(pieces))
                return True
            pieces.append(command.text)
        await session.append("".join(pieces))
        return False

    async def _wait_for_cancel(self, sending: asyncio.Task[None]) -> bool:
        """Wait until all was sent; return whether the turn was cancelled before."""
        while not sending.done() and not self._cancelled:
            await self._wait_for_change(sending)
        if sending.done():
            return False
        self._cancelled = False
        return True

    async def _next_command(self, sending: asyncio.Task[None] | None = None) -> _Command | None:
        """Return the next command; None for a cancel, or when the sending has ended."""
        while not self._cancelled:
            if sending is not None and sending.done():
                return None
            if self._commands:
                return self._take(self._commands.popleft())
            await self._wait_for_change(sending)
        self._cancelled = False
        return None

    async def _wait_for_change(self, sending: asyncio.Task[None] | None) -> None:
        """Wait for a command, a cancel, or the end of the sending."""
        self._changed.clear()
        changing = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait({changing} | ({sending} if sending else set()), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(changing)

    def _put(self, command: _Command) -> None:
        self._commands.append(command)
        self._changed.set()

    def _take(self, command: _Command) -> _Command:
        self._waiting_characters -= len(command.text)
        if command.settings is not None:
            self.settings = command.settings
        return command

    async def _send(self, turn: Turn, session: SpeechSession) -> None:
        encoder: AudioEncoder | None = None
        turn.spoken, turn.warnings = session.spoken, session.warnings
        async with aclosing(resampled(session.audio(), turn.settings.options.sample_rate)) as chunks:
            async for chunk in chunks:
                if encoder is None:
                    encoder = await open_encoder(turn.settings.audio_format, chunk.sample_rate, chunk.label)
                    turn.sample_rate = encoded_rate(turn.settings.audio_format, chunk.sample_rate)
                    turn.label = chunk.label
                encoded = await feed_encoder(encoder, chunk.samples) if chunk.samples else b""
                turn.seconds += len(chunk.samples) / 2 / chunk.sample_rate
                if chunk.verified:
                    turn.verified.append(chunk.verified)
                await self._listener.audio(turn, encoded, chunk)
        if encoder is not None and (rest := await finish_encoder(encoder)):
            await self._listener.audio(turn, rest, AudioChunk(b"", turn.sample_rate, last=True))
