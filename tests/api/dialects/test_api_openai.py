"""OpenAI's API, as OpenAI's own client and careless other clients use it."""

from __future__ import annotations

import asyncio
import base64
import io
import wave
from typing import Any

import av
import httpx
import openai
import orjson
import pytest
from api_support import RATE, Api, ToneWorkers, eventually, make_voice, running

from core.jobs.job import JobStatus
from core.jobs.queue import AsyncQueue
from core.records import Records, VoiceRecord
from core.settings import Settings

TEXT = "Hello there. How are you today."


@pytest.fixture
async def sdk(api: Api) -> Any:
    async with openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def speech(**more: Any) -> dict[str, Any]:
    return {"model": "tts-1", "voice": "Allison", "input": TEXT, "response_format": "wav", **more}


@pytest.mark.parametrize(
    ("kind", "begins", "media_type"),
    [
        ("mp3", b"ID3", "audio/mpeg"),
        ("opus", b"OggS", "audio/ogg"),
        ("aac", b"\xff", "audio/aac"),
        ("flac", b"fLaC", "audio/flac"),
        ("wav", b"RIFF", "audio/wav"),
        ("pcm", b"", "audio/pcm"),
    ],
)
async def test_the_official_client_receives_every_format(
    sdk: openai.AsyncOpenAI, tone_workers: ToneWorkers, voice: VoiceRecord, kind: Any, begins: bytes, media_type: str
) -> None:
    reply = await sdk.audio.speech.create(model="tts-1", voice="Allison", input=TEXT, response_format=kind)

    assert reply.content.startswith(begins)
    assert len(reply.content) > 1000
    assert reply.response.headers["content-type"].startswith(media_type)


async def test_mp3_is_what_one_gets_without_asking(
    sdk: openai.AsyncOpenAI, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    reply = await sdk.audio.speech.create(model="gpt-4o-mini-tts", voice="Allison", input=TEXT)

    assert reply.response.headers["content-type"] == "audio/mpeg"


async def test_the_official_client_streams(
    sdk: openai.AsyncOpenAI, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    request = sdk.audio.speech.with_streaming_response.create(
        model="nano", voice=voice.id, input=TEXT, response_format="wav", instructions="Whisper.", speed=2.0
    )
    async with request as reply:
        content = b"".join([chunk async for chunk in reply.iter_bytes()])

    assert {item.speed for item in tone_workers.requests} == {2.0}
    assert seconds_of(content) == pytest.approx(len(TEXT.replace(" H", "H")) / 40 + 0.3, abs=0.02)


async def test_the_official_client_lists_models(sdk: openai.AsyncOpenAI) -> None:
    models = [model.id async for model in sdk.models.list()]

    assert models == ["nano", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"]
    assert (await sdk.models.retrieve("gpt-5-speech")).id == "gpt-5-speech"
    assert (await sdk.models.retrieve("nano")).owned_by == "sovitsd"


async def test_the_official_client_reads_our_errors(
    sdk: openai.AsyncOpenAI, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await sdk.audio.speech.create(model="tts-1", voice="nobody", input=TEXT)
    with pytest.raises(openai.BadRequestError) as empty:
        await sdk.audio.speech.create(model="tts-1", voice="Allison", input=" ")

    assert unknown.value.code == "voice_not_found"
    assert unknown.value.param == "voice"
    assert "Allison" in unknown.value.message
    assert (empty.value.code, empty.value.type) == ("empty_text", "invalid_request_error")


async def test_the_first_utterance_is_sent_before_the_second_is_spoken(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    tone_workers.gate.clear()

    async with api.client.stream("POST", "/v1/audio/speech", json=speech(stream_format="audio")) as reply:
        chunks = reply.aiter_bytes()
        first = await asyncio.wait_for(anext(chunks), 10)
        tone_workers.gate.set()
        rest = b"".join([chunk async for chunk in chunks])

    assert reply.headers["transfer-encoding"] == "chunked"
    assert seconds_of(first) == pytest.approx(len("Hello there.") / 20, abs=0.01)
    assert seconds_of(first + rest) == pytest.approx(len("Hello there.How are you today.") / 20 + 0.3, abs=0.01)


async def test_raw_samples_come_at_24_khz_and_say_so(
    client: httpx.AsyncClient, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    reply = await client.post("/v1/audio/speech", json=speech(response_format="pcm", input="Hello there."))

    assert len(reply.content) == pytest.approx(2 * 24_000 * len("Hello there.") / 20, abs=200)
    assert reply.headers["x-sample-rate"] == "24000"


@pytest.mark.parametrize(("setting", "requested", "rate"), [(0, None, RATE), (8000, None, 8000), (0, 44_100, 44_100)])
async def test_the_rate_of_raw_samples_is_chosen_by_setting_and_request(
    settings: Settings, tone_workers: ToneWorkers, voice: VoiceRecord, setting: int, requested: int | None, rate: int
) -> None:
    body = speech(response_format="pcm", sample_rate=requested)
    async with running(settings.model_copy(update={"openai_pcm_sample_rate": setting})) as api:
        reply = await api.client.post("/v1/audio/speech", json=body)

    assert reply.headers["x-sample-rate"] == str(rate)
    seconds = len("Hello there.How are you today.") / 20 + 0.3
    assert len(reply.content) == pytest.approx(2 * rate * seconds, abs=200)


@pytest.mark.parametrize("streamed", [False, True])
async def test_every_format_comes_at_the_rate_that_is_asked_for(
    client: httpx.AsyncClient, tone_workers: ToneWorkers, voice: VoiceRecord, streamed: bool
) -> None:
    more = {"stream_format": "audio"} if streamed else {}
    replies = {
        kind: await client.post("/v1/audio/speech", json=speech(response_format=kind, sample_rate=22_050, **more))
        for kind in ("wav", "flac", "mp3", "aac")
    }

    for kind, reply in replies.items():
        with av.open(io.BytesIO(reply.content), "r") as container:
            stream = container.streams.audio[0]
            assert stream.rate == 22_050, kind
            samples = sum(frame.samples for frame in container.decode(stream))
        assert samples / 22_050 == pytest.approx(len("Hello there.How are you today.") / 20 + 0.3, abs=0.15), kind


@pytest.mark.parametrize("rate", [7999, 48_001, "loud"])
async def test_a_rate_that_nobody_plays_is_rejected(client: httpx.AsyncClient, voice: VoiceRecord, rate: Any) -> None:
    reply = await client.post("/v1/audio/speech", json=speech(sample_rate=rate))

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "sample_rate")


async def test_events_carry_the_audio(client: httpx.AsyncClient, tone_workers: ToneWorkers, voice: VoiceRecord) -> None:
    reply = await client.post("/v1/audio/speech", json=speech(stream_format="sse"))
    events = [orjson.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: ")]

    assert reply.headers["content-type"].startswith("text/event-stream")
    assert [event["type"] for event in events] == ["speech.audio.delta"] * 2 + ["speech.audio.done"]
    assert base64.b64decode(events[0]["audio"]).startswith(b"RIFF")
    assert set(events[-1]["usage"]) == {"input_tokens", "output_tokens", "total_tokens"}


async def test_a_careless_client_is_understood(
    client: httpx.AsyncClient, tone_workers: ToneWorkers, records: Records, voice: VoiceRecord
) -> None:
    await make_voice(records, "Newer")

    bare = await client.post("/v1/audio/speech", json={"input": "Hello.", "colour": "red"})
    by_id = await client.post("/v1/audio/speech", json=speech(voice={"id": voice.id}, input="Hello."))
    voices = (await client.get("/v1/audio/voices")).json()["voices"]

    assert (bare.status_code, by_id.status_code) == (200, 200)
    assert [voice["name"] for voice in voices] == ["Newer", "Allison"]
    assert [item.voice_id for item in tone_workers.requests] == [voices[0]["id"], voice.id]


async def test_a_seed_and_a_language_reach_the_synthesizer(
    client: httpx.AsyncClient, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    await client.post("/v1/audio/speech", json=speech(seed=7, language="English", input="Hello."))

    assert tone_workers.requests[0].seed == 7


@pytest.mark.parametrize(
    ("voice_language", "number_language"),
    [("en", "en"), ("all_zh", "zh"), ("ja", "ja"), ("auto_yue", "yue"), ("auto", "en")],  # auto: that of its prompt
)
async def test_the_language_of_the_voice_reads_numbers_alone(
    api: Api,
    tone_workers: ToneWorkers,
    voice: VoiceRecord,
    records: Records,
    voice_language: str,
    number_language: str,
) -> None:
    await records.voices.update(voice.id, language=voice_language)

    reply = await api.client.post("/v1/audio/speech", json=speech(input="42."))

    assert reply.status_code == 200
    assert tone_workers.requests[0].language == number_language


async def test_half_a_character_is_passed_on_as_a_sign_for_it(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    body = b'{"voice": "Allison", "response_format": "wav", "input": "Hello \\ud83d there."}'
    word = b'{"voice": "Allison", "input": "Hello.", "pronunciations": {"\\ud83d": "=a"}}'
    headers = {"Content-Type": "application/json"}

    reply = await api.client.post("/v1/audio/speech", content=body, headers=headers)
    rejected = await api.client.post("/v1/audio/speech", content=word, headers=headers)

    assert reply.status_code == 200
    assert tone_workers.requests[0].text == "Hello \ufffd there."
    assert rejected.status_code == 400


async def test_the_words_of_a_request_go_before_those_of_its_voice(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord, records: Records
) -> None:
    await records.voices.update(voice.id, pronunciations={"GIF": "G IH1 F", "Hello": "=Hi"})
    more = {"pronunciations": {"GIF": "JH IH1 F"}, "input_type": "text", "input": "Hello, a GIF {500ms} of mine."}

    reply = await api.client.post("/v1/audio/speech", json=speech(**more))
    too_many = await api.client.post(
        "/v1/audio/speech", json=speech(pronunciations={str(n): "=x" for n in range(1001)})
    )
    unknown = await api.client.post("/v1/audio/speech", json=speech(input_type="html"))

    assert reply.status_code == 200
    (requested,) = tone_workers.requests
    assert requested.text == "Hi, a GIF {500ms} of mine."
    assert [span.units for span in requested.readings] == [("JH", "IH1", "F")]
    assert (too_many.status_code, unknown.status_code) == (400, 400)


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"input": ""}, 400, "empty_text", "input"),
        ({"input": "x" * 4097}, 400, "text_too_long", "input"),
        ({"input": None}, 400, "invalid_request", "input"),
        ({"voice": "alison"}, 404, "voice_not_found", "voice"),
        ({"response_format": "midi"}, 400, "invalid_request", "response_format"),
        ({"speed": 9}, 400, "invalid_request", "speed"),
        ({"stream_format": "smoke"}, 400, "invalid_request", "stream_format"),
        ({"language": "klingon"}, 400, "unsupported_language", None),
    ],
)
async def test_what_cannot_be_is_rejected_in_openais_error_format(
    client: httpx.AsyncClient,
    tone_workers: ToneWorkers,
    voice: VoiceRecord,
    change: dict[str, Any],
    status: int,
    code: str,
    param: str | None,
) -> None:
    reply = await client.post("/v1/audio/speech", json=speech(**change))

    error = reply.json()["error"]
    assert reply.status_code == status
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)


async def test_nobody_can_speak_without_a_synthesizer(client: httpx.AsyncClient, voice: VoiceRecord) -> None:
    reply = await client.post("/v1/audio/speech", json=speech())

    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "not_ready"


async def test_an_utterance_that_fails_is_reported_with_its_own_error(
    client: httpx.AsyncClient, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    tone_workers.error = {"code": "unreadable_text", "message": "Nothing to pronounce.", "hint": "Use letters."}
    unreadable = await client.post("/v1/audio/speech", json=speech())
    tone_workers.error = {"code": "internal_error", "message": "Out of luck.", "hint": ""}
    broken = await client.post("/v1/audio/speech", json=speech())

    assert (unreadable.status_code, unreadable.json()["error"]["code"]) == (400, "unreadable_text")
    assert (broken.status_code, broken.json()["error"]["code"]) == (500, "job_failed")


async def test_an_error_after_the_first_audio_is_an_event(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    tone_workers.gate.clear()
    async with api.client.stream("POST", "/v1/audio/speech", json=speech(stream_format="sse")) as reply:
        lines = (line async for line in reply.aiter_lines() if line)
        await asyncio.wait_for(anext(lines), 10)
        tone_workers.error = {"code": "internal_error", "message": "Out of luck.", "hint": ""}
        tone_workers.gate.set()
        rest = [orjson.loads(line[6:]) async for line in lines]

    assert [event["type"] for event in rest] == ["error"]
    assert rest[0]["error"]["message"] == "Out of luck."


async def test_an_error_after_the_first_audio_breaks_the_connection(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    tone_workers.gate.clear()
    async with api.client.stream("POST", "/v1/audio/speech", json=speech(stream_format="audio")) as reply:
        chunks = reply.aiter_bytes()
        await asyncio.wait_for(anext(chunks), 10)
        tone_workers.error = {"code": "internal_error", "message": "Out of luck.", "hint": ""}
        tone_workers.gate.set()
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(chunks)


@pytest.mark.parametrize("after_the_first_sound", [True, False])
async def test_a_client_that_goes_away_cancels_its_jobs(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord, queue: AsyncQueue, after_the_first_sound: bool
) -> None:
    tone_workers.gate.clear()
    text = "This is the first one. That is the second one. Here is the third one. There is the fourth one."
    if after_the_first_sound:
        async with api.client.stream(
            "POST", "/v1/audio/speech", json=speech(input=text, stream_format="audio")
        ) as reply:
            await asyncio.wait_for(anext(reply.aiter_bytes()), 10)
            await eventually(lambda: len(tone_workers.requests) == 2)
    else:
        tone_workers.hold_first = True
        waiting = asyncio.create_task(api.client.post("/v1/audio/speech", json=speech(input=text)))
        await eventually(lambda: tone_workers.requests)
        waiting.cancel()

    await eventually(lambda: tone_workers.cancelled)
    parent = tone_workers.requests[0].parent

    async def statuses() -> set[JobStatus]:
        jobs = [await queue.job(f"{parent}.{index}") for index in (1, 2, 3)]
        return {job.status for job in jobs if job is not None}

    await eventually(lambda: _equals(statuses, {JobStatus.CANCELLED} if after_the_first_sound else set()))
    assert (await queue.depths())["synthesizer"] == 0


async def _equals(ask: Any, expected: Any) -> bool:
    return bool(await ask() == expected)


async def test_speech_that_takes_too_long_is_cancelled(
    settings: Settings, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    tone_workers.gate.clear()
    tone_workers.hold_first = True

    async with running(settings.model_copy(update={"synthesis_timeout_seconds": 0.3})) as api:
        reply = await api.client.post("/v1/audio/speech", json=speech())
        await eventually(lambda: tone_workers.cancelled)

    assert reply.status_code == 504
    assert reply.json()["error"]["code"] == "timed_out"


async def test_without_redis_the_answer_is_503(settings: Settings, voice: VoiceRecord) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})

    async with running(away) as api:
        reply = await api.client.post("/v1/audio/speech", json=speech())

    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "queue_unavailable"
    assert reply.headers["retry-after"] == "5"


def seconds_of(content: bytes) -> float:
    """Of a WAV whose header does not know its length."""
    with wave.open(io.BytesIO(content)) as file:
        assert file.getframerate() == RATE
        return len(file.readframes(1 << 30)) / 2 / RATE


@pytest.mark.parametrize("seed", [0, 2**31, 2**32, 2**53 + 1, 2**63 - 1])
async def test_a_seed_of_up_to_63_bits_reaches_the_synthesizer_exactly(
    client: httpx.AsyncClient, voice: VoiceRecord, tone_workers: ToneWorkers, seed: int
) -> None:
    response = await client.post("/v1/audio/speech", json=speech(seed=seed, input="Hello."))

    assert response.status_code == 200
    assert tone_workers.requests[0].seed == seed


@pytest.mark.parametrize("seed", ["-1", str(2**63), str(2**64), "1" * 60, "9" * 5000, "-" + "9" * 5000, "1e400", "1.5"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/audio/speech", '{"model": "tts-1", "voice": "Allison", "input": "Hello.", "seed": %s}'),
        ("/api/v1/inference", '{"text": "Hello.", "voice": "Allison", "seed": %s}'),
        ("/api/v1/datasets/ds-x/split", '{"val": 0.2, "seed": %s}'),
        ("/api/v1/datasets/ds-x/augment", '{"seed": %s}'),
    ],
)
async def test_a_seed_out_of_range_is_one_sentence(client: httpx.AsyncClient, path: str, body: str, seed: str) -> None:
    response = await client.post(path, content=body % seed, headers={"Content-Type": "application/json"})

    error = response.json()["error"]
    assert response.status_code == (400 if path.startswith("/v1/") else 422), response.text
    assert ("integer that is too long" if len(seed) > 4300 else "seed") in error["message"]
    assert len(error["message"]) < 200


async def test_instructions_choose_a_prompt_and_the_response_says_which(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord, records: Records
) -> None:
    happy = {**voice.prompts[0], "name": "快乐", "description": "cheerful"}
    await records.voices.update(voice.id, prompts=[voice.prompts[0], happy])  # type: ignore[list-item]
    followed = await api.client.post("/v1/audio/speech", json=speech(instructions="Sound cheerful."))
    other = await api.client.post("/v1/audio/speech", json=speech(instructions="With a French accent."))
    events = await api.client.post(
        "/v1/audio/speech", json=speech(instructions="Cheerfully!", stream_format="sse", response_format="pcm")
    )

    assert followed.headers["x-voice-prompt"] == "%E5%BF%AB%E4%B9%90"
    assert tone_workers.requests[0].prompt_name == "快乐"
    assert other.headers["x-voice-prompt"] == "default"
    assert other.headers["x-warning"] == "instructions_not_followed; no prompt of the voice suits them"
    assert orjson.loads(events.text.split("\n")[0].removeprefix("data:"))["prompt"] == {"name": "快乐", "matched": True}
