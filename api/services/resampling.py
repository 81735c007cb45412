"""Speech at the sample rate that its listener asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from api.services.audio_chunks import AudioChunk
from core.speech.words import WordTiming

if TYPE_CHECKING:
    from core.media.resample import Resampler


async def resampled(chunks: AsyncGenerator[AudioChunk, None], sample_rate: int) -> AsyncGenerator[AudioChunk, None]:
    """Yield the same speech at another rate; every utterance is complete at its last chunk. 0 changes nothing."""
    resampler: Resampler | None = None
    words: tuple[WordTiming, ...] = ()
    seconds = 0.0
    async with aclosing(chunks):
        async for chunk in chunks:
            if sample_rate in (0, chunk.sample_rate):
                seconds += len(chunk.samples) / 2 / chunk.sample_rate
                yield chunk
                continue
            if resampler is None:
                resampler = await asyncio.to_thread(_new_resampler, chunk.sample_rate, sample_rate)
            samples = await asyncio.to_thread(resampler.feed, chunk.samples)
            if chunk.last:
                samples += await asyncio.to_thread(resampler.finish)
                resampler = None
            # The resampler holds some samples back, and so the words that end in them.
            seconds += len(samples) / 2 / sample_rate
            words += chunk.words
            ended = words if chunk.last else tuple(word for word in words if word["end"] <= seconds)
            words = words[len(ended) :]
            yield replace(chunk, samples=samples, sample_rate=sample_rate, words=ended)


async def at_one_rate(chunks: AsyncGenerator[AudioChunk, None], sample_rate: int) -> AsyncGenerator[AudioChunk, None]:
    """Yield the same speech at a rate; 0: that of its first chunk."""
    first = await anext(chunks, None)
    if first is None:
        return
    rest = resampled(_prefixed(first, chunks), sample_rate or first.sample_rate)
    async with aclosing(rest):
        async for chunk in rest:
            yield chunk


async def _prefixed(first: AudioChunk, rest: AsyncGenerator[AudioChunk, None]) -> AsyncGenerator[AudioChunk, None]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


def _new_resampler(source_rate: int, target_rate: int) -> Resampler:
    from core.media.resample import Resampler

    return Resampler(source_rate, target_rate)
