"""Speech sessions: text goes in while audio comes out."""

from __future__ import annotations

import asyncio

import pytest
from api_support import RATE, Api, ToneWorkers, eventually

from api.services.live_speech import AudioChunk
from api.services.speech import SpeechOptions
from core.errors import BadMarkup, InvalidRequest, TextTooLong
from core.jobs.queue import AsyncQueue
from core.records import VoiceRecord

OPTIONS = SpeechOptions(language="en")


async def test_the_first_words_are_spoken_before_the_sentence_is_complete(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord
):
    async with api.services.speech.session("Allison", OPTIONS) as session:
        audio = session.audio()
        await session.append("The quick brown fox ")

        first = await asyncio.wait_for(anext(audio), 10)
        assert first.samples
        assert "The quick brown fox".startswith(first.text)
        assert len(first.text.split()) >= 3
        await session.append("jumps over the lazy dog. And then it sleeps.")
        await session.done()
        rest = [chunk async for chunk in audio]

    assert rest[-1].last
    assert " ".join(spoken.text for spoken in session.spoken) == (
        "The quick brown fox jumps over the lazy dog. And then it sleeps."
    )
    assert all(spoken.complete for spoken in session.spoken)
    assert session.spoken[0].start == 0
    assert session.spoken[-1].end == len("The quick brown fox jumps over the lazy dog. And then it sleeps.")


async def test_a_flush_speaks_what_is_there(api: Api, tone_workers: ToneWorkers, voice: VoiceRecord):
    async with api.services.speech.session("Allison", OPTIONS) as session:
        audio = session.audio()
        await session.append("Hello")
        await session.flush()
        chunk = await asyncio.wait_for(anext(audio), 10)
        await session.done()
        rest = [chunk async for chunk in audio]

    assert chunk == AudioChunk(chunk.samples, RATE, 0, "Hello")
    assert [(chunk.last, chunk.samples) for chunk in rest] == [(True, b"")]


async def test_a_session_without_a_word_is_silent(api: Api, tone_workers: ToneWorkers, voice: VoiceRecord):
    async with api.services.speech.session("Allison", OPTIONS) as session:
        await session.append(" ... ")
        await session.done()

        assert [chunk async for chunk in session.audio()] == []
        with pytest.raises(InvalidRequest):
            await session.append("More.")


async def test_the_end_of_a_session_cancels_what_is_left(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord, queue: AsyncQueue
):
    tone_workers.gate.clear()
    async with api.services.speech.session("Allison", OPTIONS) as session:
        audio = session.audio()
        await session.append("This is the first sentence. This is the second one. This is the third one. ")
        await asyncio.wait_for(anext(audio), 10)
        await eventually(lambda: len(tone_workers.requests) == 2)
        await audio.aclose()

    await eventually(lambda: tone_workers.cancelled)
    assert (await queue.depths())["synthesizer"] == 0
    assert [spoken.complete for spoken in session.spoken] == [False]


async def test_too_much_text_and_bad_markup_are_errors_of_their_message(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord
):
    async with api.services.speech.session("Allison", OPTIONS) as session:
        with pytest.raises(TextTooLong):
            await session.append("x" * 100_001)
        with pytest.raises(BadMarkup):
            await session.append("{99999999ms} and so on. Then it ends. ")
