"""Speech at the loudness that its requests ask for, while it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from api.services.audio_chunks import AudioChunk
from core.speech.words import WordTiming, delayed, delayed_marks

if TYPE_CHECKING:
    from core.media.leveling import SpeechLeveler


class LevelPlan(NamedTuple):
    """What is done to the level of a speech, beside the loudness of each chunk."""

    true_peak: float
    """dBTP."""
    trim_silence: bool
    whole: bool
    """Whether nobody waits for samples before their utterance ends."""


async def leveled(chunks: AsyncGenerator[AudioChunk, None], plan: LevelPlan) -> AsyncGenerator[AudioChunk, None]:
    """Yield the same speech at its loudness, each word with the samples in which it ends.

    Without a loudness and with its silence, speech passes as it is.
    """
    leveler: SpeechLeveler | None = None
    words: tuple[WordTiming, ...] = ()
    seconds = 0.0
    async with aclosing(chunks):
        async for chunk in chunks:
            if leveler is None and (plan.trim_silence or chunk.loudness is not None):
                leveler = await asyncio.to_thread(_new_leveler, chunk.sample_rate, plan)
            if leveler is None:
                seconds += len(chunk.samples) / 2 / chunk.sample_rate
                yield chunk
                continue
            if chunk.last:
                samples = await asyncio.to_thread(leveler.end_utterance, chunk.voice_id, chunk.loudness)
            else:
                samples = await asyncio.to_thread(leveler.feed, chunk.samples, chunk.voice_id, chunk.loudness)
            seconds += len(samples) / 2 / chunk.sample_rate
            words += tuple(delayed(chunk.words, -leveler.trimmed_seconds))
            if samples:
                ended = tuple(word for word in words if word["end"] <= seconds)
                words = words[len(ended) :]
                yield replace(chunk, samples=samples, words=ended, last=False, marks=(), verification=None)
            if chunk.last:
                marks = tuple(delayed_marks(chunk.marks, -leveler.trimmed_seconds))
                yield replace(chunk, samples=b"", words=words, marks=marks)
                words = ()


def _new_leveler(sample_rate: int, plan: LevelPlan) -> SpeechLeveler:
    from core.media.leveling import LevelSettings, SpeechLeveler  # with their libraries

    settings = LevelSettings(plan.true_peak, plan.trim_silence)
    return SpeechLeveler(sample_rate, settings, whole_utterances=plan.whole)
