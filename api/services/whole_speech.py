"""Speech as a whole or by utterances, for responses that are files; the silence that a text of punctuation becomes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from api.services.audio_chunks import AudioChunk
from api.services.speech import SpeechService
from core.errors import EmptyText
from core.speech.requests import SpeechRequest

SILENCE_SECONDS: Final = 0.5
SILENCE_RATE: Final = 24_000


async def audio_or_silence(
    speech: SpeechService, request: SpeechRequest, *, whole: bool = False
) -> AsyncGenerator[AudioChunk, None]:
    """Yield the samples of a text that is not blank; a moment of silence where it holds nothing to say.

    `whole`: nobody hears anything before the end.
    """
    try:
        async with aclosing(speech.audio(request, whole=whole)) as chunks:
            async for chunk in chunks:
                yield chunk
    except EmptyText:
        rate = request.sample_rate or SILENCE_RATE
        yield AudioChunk(bytes(2 * round(SILENCE_SECONDS * rate)), rate, last=True)


async def utterances_of(chunks: AsyncGenerator[AudioChunk, None]) -> AsyncGenerator[AudioChunk, None]:
    """Yield one chunk for each utterance, when it is complete."""
    samples: list[bytes] = []
    async with aclosing(chunks):
        async for chunk in chunks:
            samples.append(chunk.samples)
            if chunk.last:
                yield replace(chunk, samples=b"".join(samples))
                samples.clear()


async def whole_audio(chunks: AsyncGenerator[AudioChunk, None]) -> AudioChunk:
    """Wait for all of a speech and return it as one chunk."""
    samples: list[bytes] = []
    chunk = AudioChunk(b"", SILENCE_RATE)
    async with aclosing(chunks):
        async for chunk in chunks:
            samples.append(chunk.samples)
    return AudioChunk(b"".join(samples), chunk.sample_rate, label=chunk.label)
