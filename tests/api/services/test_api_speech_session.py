"""Speech sessions: text goes in while audio comes out."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest
from api_support import RATE, Api, ToneWorkers, eventually, tone

from api.services.audio_chunks import AudioChunk
from api.services.speech import SpeechOptions
from core.errors import BadMarkup, InvalidRequest, TextTooLong
from core.jobs.queue import AsyncQueue
from core.records import VoiceRecord
from core.speech.requests import InputType

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


@pytest.mark.parametrize(("declaration", "input_type"), [("", "ssml"), ("<?xml version='1.0'?>", "auto")])
async def test_a_long_document_is_not_taken_apart(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord, declaration: str, input_type: InputType
):
    sentences = [f"This is sentence {word}." for word in ("one", "two", "three") * 20]
    document = f"{declaration}<speak><p>{' '.join(sentences)}</p></speak>"
    assert len(document) > 1000
    async with api.services.speech.session("Allison", SpeechOptions(language="en", input_type=input_type)) as session:
        await session.done(document)
        async for _ in session.audio():
            pass

    assert [spoken.text for spoken in session.spoken] == sentences


async def test_a_flush_speaks_what_is_there(api: Api, tone_workers: ToneWorkers, voice: VoiceRecord):
    async with api.services.speech.session("Allison", OPTIONS) as session:
        audio = session.audio()
        await session.append("Hello")
        await session.flush()
        chunk = await asyncio.wait_for(anext(audio), 10)
        await session.done()
        rest = [chunk async for chunk in audio]

    assert chunk == AudioChunk(chunk.samples, RATE, 0, "Hello", voice_id=voice.id)
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


class MinutesClock:
    """A clock that stands still between its jumps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


async def test_the_limit_of_ten_minutes_is_for_a_stall_and_not_for_a_long_text(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord, monkeypatch: pytest.MonkeyPatch
):
    clock = MinutesClock()
    monkeypatch.setattr("core.jobs.chunk_streams.time", clock)

    def speak_for_minutes(seconds: float) -> bytes:
        clock.now += 190  # three utterances that are made ahead stay below the limit
        return tone(seconds)[44:]

    tone_workers.speech = speak_for_minutes
    assert api.services.settings.synthesis_timeout_seconds == 600
    sentences = [f"This is sentence number {number} of a long text." for number in range(8)]
    async with api.services.speech.session("Allison", OPTIONS) as session:
        await session.done(" ".join(sentences))
        texts = [chunk.text async for chunk in session.audio() if chunk.last]

    assert " ".join(texts) == " ".join(sentences)
    assert clock.now > 2 * 600


@pytest.mark.slow
async def test_a_long_text_is_streamed_in_constant_memory(api: Api, tone_workers: ToneWorkers, voice: VoiceRecord):
    samples = tone(4.0)[44:]
    tone_workers.speech = lambda _: samples
    text = "This is one of many sentences in a text that never ends, and nobody knows how many more there are. " * 500
    peaks: list[int] = []
    seconds = 0.0

    tracemalloc.start()
    try:
        async with api.services.speech.session("Allison", OPTIONS) as session:
            await session.done(text)
            async for chunk in session.audio():
                seconds += len(chunk.samples) / 2 / RATE
                if chunk.last and chunk.utterance % 100 == 99:
                    peaks.append(tracemalloc.get_traced_memory()[1])
                    tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()

    assert seconds > 500 * 4.0  # 61 MiB of samples
    assert len(peaks) >= 5
    assert max(peaks[1:]) - min(peaks[1:]) < 2 << 20
