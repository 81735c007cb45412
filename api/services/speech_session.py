"""A speech session: text goes in while audio comes out.

    async with api.speech.session(voice, options) as session:
        await session.append("Hello, ")          # as often as there is more; flush() speaks what is there
        await session.done()                     # or cancel()
        async for chunk in session.audio(): …    # meanwhile, in another task

An utterance is enqueued as soon as its sentence is complete, or earlier where the listener would have to wait for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from api.services.audio_chunks import AudioChunk
from api.services.growing_text import CutPlace, GrowingText, TextPiece, text_parts
from api.services.live_speech import LiveSpeech
from api.services.text_splitting import sentences, split_short_text, voice_at_end
from common.ssml_start import may_become_ssml
from common.text_origins import moved
from core.cancellation import cancel_and_wait
from core.errors import EmptyText, InvalidRequest, TextTooLong, UnreadableText
from core.settings import Settings
from core.speech.requests import SpeechRequest, UtteranceRequest
from core.speech.utterances import utterance_requests

LEAD_SECONDS: Final = 0.6
"""So long before a listener has heard everything, a sentence is begun that is not complete yet."""
PAUSE_SECONDS: Final = {CutPlace.CLAUSE: 0.08, CutPlace.WORD: 0.0}
"""Silence behind a part of a sentence."""
MAX_PIECE_CHARACTERS: Final = 1000
"""Of text that is split at once."""

PrepareText: TypeAlias = Callable[[SpeechRequest], Awaitable[tuple[SpeechRequest, list[str]]]]
"""Returns a request with the voices that its text names, and warnings."""


@dataclass(frozen=True, slots=True)
class SpokenText:
    """An utterance whose audio was returned: all of it, or its beginning."""

    text: str
    start: int
    end: int
    """Characters of all the text that was appended."""
    complete: bool


class SpeechSession:
    """One turn of speech whose text is still growing. `SpeechService.session` opens it."""

    def __init__(self, template: SpeechRequest, live: LiveSpeech, settings: Settings, prepare: PrepareText) -> None:
        """`template` is a request without a text; `prepare` finds the voices that a text names."""
        self.spoken: list[SpokenText] = []
        """What was returned so far, in order."""
        self.warnings: list[str] = []
        """What the text is that the voice cannot speak well, each kind once."""
        self._template = template
        self._prepare = prepare
        self._live = live
        self._max_characters = settings.max_text_characters
        self._notice = settings.spoken_notice
        self._text = GrowingText(sentences, self._is_document)
        self._spans: dict[int, tuple[int, int]] = {}
        self._covered = 0
        """Characters that belong to utterances."""
        self._cutting = asyncio.Lock()
        self._done = False
        self._grown = asyncio.Event()
        self._pacing = asyncio.create_task(self._pace())

    async def append(self, text: str) -> None:
        """Add text at the end. Raises TextTooLong, BadMarkup, BadPronunciation; InvalidRequest after `done`."""
        if self._done:
            raise InvalidRequest("The text is complete; no more can be appended.", hint="Begin another turn.")
        self._check_length(text)
        self._text.append(text)
        await self._speak_complete()
        self._grown.set()

    def _check_length(self, text: str) -> None:
        if self._text.length + len(text) > self._max_characters:
            raise TextTooLong(
                f"The text has more than {self._max_characters:,} characters.", hint="Begin another turn."
            )

    async def flush(self) -> None:
        """Speak what was appended without waiting for the end of its sentence."""
        async with self._cutting:
            await self._speak(self._text.flush())

    async def done(self, text: str = "") -> None:
        """Speak what is left and this text behind it; `audio` ends there. Raises as `append`."""
        self._check_length(text)
        self._text.append(text)
        self._done = True
        await self.flush()
        self._live.complete()
        self._grown.set()

    async def audio(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield the audio as it is made; call it once. The last chunk of an utterance has no samples.

        Raises as `LiveSpeech.chunks`.
        """
        async for chunk in self._live.chunks():
            start, end = self._spans[chunk.utterance]
            spoken = SpokenText(chunk.text, start, end, chunk.last)
            if self.spoken and self.spoken[-1].start == start:
                self.spoken[-1] = spoken
            else:
                self.spoken.append(spoken)
            self._grown.set()  # it is known now until when the listener is busy
            yield chunk

    async def close(self) -> None:
        """End the session; what was not spoken yet is given up."""
        self._done = True
        await cancel_and_wait(self._pacing)

    async def _pace(self) -> None:
        """Begin a sentence that is not complete when the listener would have to wait for it."""
        while not self._done:
            self._grown.clear()
            busy_seconds = self._live.audio_until - time.monotonic() - LEAD_SECONDS
            if self._live.waits_for_text and busy_seconds <= 0:
                try:
                    await self._speak_complete(urgent=True)
                except Exception as error:  # whoever listens gets it
                    self._live.abort(error)
                    return
            with suppress(TimeoutError):
                async with asyncio.timeout(busy_seconds if busy_seconds > 0 else None):
                    await self._grown.wait()

    async def _speak_complete(self, *, urgent: bool = False) -> None:
        async with self._cutting:
            while piece := self._text.take(urgent=urgent):
                await self._speak(piece)
                urgent = False

    def _is_document(self, text: str) -> bool:
        """Return whether a text is one document of SSML, or may be the beginning of one; it is never taken apart."""
        input_type = self._template.input_type
        return input_type == "ssml" or (input_type == "auto" and may_become_ssml(text))

    def _parts(self, text: str) -> Iterator[str]:
        """Yield what is split at once."""
        return iter([text]) if self._is_document(text) else text_parts(text, sentences, MAX_PIECE_CHARACTERS)

    async def _speak(self, piece: TextPiece | None) -> None:
        if piece is None:
            return
        position = 0
        for text in self._parts(piece.text):
            first, position = position, position + len(text)
            request, warnings = await self._prepare(self._template.model_copy(update={"text": text}))
            self.warnings += (warning for warning in warnings if warning not in self.warnings)
            following = {"voices": request.voices, "first_voice": await asyncio.to_thread(voice_at_end, request)}
            self._template = self._template.model_copy(update=following)
            try:
                split = await split_short_text(request)
            except (EmptyText, UnreadableText):  # punctuation alone
                continue
            next_index = self._live.next_index
            utterances = utterance_requests(request, self._live.id, split, next_index, notice=self._notice)
            if piece.place is not CutPlace.SENTENCE:
                utterances[-1] = _with_pause(utterances[-1], PAUSE_SECONDS[piece.place])
            utterances = [_moved(utterance, piece.start + first) for utterance in utterances]
            # What was passed over before belongs to the words that follow.
            utterances[0] = utterances[0].model_copy(update={"text_start": self._covered})
            self._covered = utterances[-1].text_end
            for utterance in utterances:
                if utterance.notice:
                    self._spans[utterance.index] = (utterance.text_start, utterance.text_start)
                    continue
                origins = utterance.origins
                end = origins[-1].source_end if origins else utterance.text_end
                self._spans[utterance.index] = (origins[0].begin if origins else utterance.text_start, end)
            self._live.add(utterances, text, characters=len(text))


def _moved(utterance: UtteranceRequest, characters: int) -> UtteranceRequest:
    """Return an utterance of a piece of text before which so many characters were appended."""
    if not characters:
        return utterance
    return utterance.model_copy(
        update={
            "text_start": utterance.text_start + characters,
            "text_end": utterance.text_end + characters,
            "origins": moved(utterance.origins, 0, characters),
        }
    )


def _with_pause(utterance: UtteranceRequest, seconds: float) -> UtteranceRequest:
    sampling = utterance.sampling.model_copy(update={"fragment_interval": seconds})
    return utterance.model_copy(update={"sampling": sampling})
