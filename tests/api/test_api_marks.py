"""Every way in which speech leaves the API carries the mark."""

from __future__ import annotations

import asyncio
import base64
import io
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import httpx
import numpy as np
import orjson
import pytest
import soundfile
from api_support import RATE, Api, ToneWorkers, eventually, make_voice, running
from bundled_speech import RATE as SPEECH_RATE
from bundled_speech import piece
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from common.audio_formats import AUDIO_FORMATS, TELEPHONY_FORMATS
from core.jobs.queue import AsyncQueue
from core.records import Records
from core.settings import Settings

TEXT = "Hello there. How are you today. This is a test of every way out."


@pytest.fixture
async def marked(settings: Settings, queue: AsyncQueue, records: Records, unused_tcp_port: int) -> AsyncIterator[Api]:
    """Yield an API whose workers answer with recorded speech, and which marks it."""
    await make_voice(records, "Allison")
    marking = settings.model_copy(update={"mark_watermark": True, "wyoming_port": unused_tcp_port})
    workers = ToneWorkers(marking)
    workers.speech = lambda seconds: (piece(10.0, 5.0) * 32767).astype("<i2").tobytes()
    assert RATE == SPEECH_RATE
    workers.start()
    try:
        async with running(marking) as api:
            await eventually(lambda: _has_workers(queue))
            yield api
    finally:
        await asyncio.to_thread(workers.stop)


async def _has_workers(queue: AsyncQueue) -> bool:
    return len(await queue.workers()) == 2


async def is_synthetic(api: Api, content: bytes) -> bool:
    response = await api.client.post("/api/v1/detect", files={"file": ("speech", content)})
    assert response.status_code == 200, response.text
    synthetic: bool = response.json()["synthetic"]
    return synthetic


def as_wav(samples: bytes, rate: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(2)
        output.setframerate(rate)
        output.writeframes(samples)
    return file.getvalue()


def decoded_telephony(content: bytes, audio_format: str) -> bytes:
    subtype = {"pcm_mulaw": "ULAW", "pcm_alaw": "ALAW"}[audio_format]
    samples, rate = soundfile.read(
        io.BytesIO(content), format="RAW", subtype=subtype, samplerate=8_000, channels=1, dtype="int16"
    )
    return as_wav(np.asarray(samples, "<i2").tobytes(), rate)


@pytest.mark.parametrize("audio_format", [*AUDIO_FORMATS, *TELEPHONY_FORMATS])
async def test_openais_route_marks_every_format(marked: Api, audio_format: str) -> None:
    body = {"model": "nano", "voice": "Allison", "input": TEXT, "response_format": audio_format}
    response = await marked.client.post("/v1/audio/speech", json=body)
    assert response.status_code == 200, response.text

    content = response.content
    if audio_format == "pcm":
        content = as_wav(content, int(response.headers["x-sample-rate"]))
    elif audio_format in TELEPHONY_FORMATS:
        content = decoded_telephony(content, audio_format)

    assert await is_synthetic(marked, content)


async def openai_events(api: Api) -> bytes:
    body = {"model": "nano", "voice": "Allison", "input": TEXT, "response_format": "wav", "stream_format": "sse"}
    response = await api.client.post("/v1/audio/speech", json=body)
    events = [orjson.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    return b"".join(base64.b64decode(event["audio"]) for event in events if "audio" in event)


async def upstream(api: Api) -> bytes:
    body = {"text": TEXT, "text_lang": "en", "ref_audio_path": "Allison", "prompt_lang": "en"}
    return (await api.client.post("/tts", json=body)).content


async def upstream_streamed(api: Api) -> bytes:
    query = {"text": TEXT, "text_lang": "en", "ref_audio_path": "Allison", "prompt_lang": "en", "streaming_mode": "2"}
    return (await api.client.get("/tts", params=query | {"media_type": "aac"})).content


async def sillytavern(api: Api) -> bytes:
    return (await api.client.post("/", json={"text": TEXT, "speaker": "Allison", "streaming": 1})).content


async def cosyvoice(api: Api) -> bytes:
    answer = await api.client.post("/synthesize", json={"target": TEXT, "voice": "Allison"})
    return (await api.client.get(httpx.URL(answer.json()["download_url"]).path)).content


async def own_socket(api: Api) -> bytes:
    audio = b""
    async with connect(api.url.replace("http://", "ws://") + "/v1/audio/speech/stream") as socket:
        for message in ({"type": "session.update", "format": "flac"}, {"type": "text.append", "text": TEXT}):
            await socket.send(orjson.dumps(message).decode())
        await socket.send('{"type": "text.done"}')
        async for received in socket:
            if isinstance(received, bytes):
                audio += received
            elif orjson.loads(received)["type"] == "turn.done":
                break
    return audio


async def elevenlabs(api: Api) -> bytes:
    url = api.url.replace("http://", "ws://") + "/v1/text-to-speech/Allison/stream-input?output_format=mp3_44100_128"
    audio = b""
    async with connect(url) as socket:
        for text in (" ", TEXT, ""):
            await socket.send(orjson.dumps({"text": text}).decode())
        with suppress(ConnectionClosed):
            async for received in socket:
                audio += base64.b64decode(orjson.loads(received)["audio"] or b"")
    return audio


async def openai_realtime(api: Api) -> bytes:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": TEXT}]}
    audio = b""
    async with connect(api.url.replace("http://", "ws://") + "/v1/realtime") as socket:
        for message in ({"type": "conversation.item.create", "item": item}, {"type": "response.create"}):
            await socket.send(orjson.dumps(message).decode())
        async for received in socket:
            event = orjson.loads(received)
            if event["type"] == "response.output_audio.delta":
                audio += base64.b64decode(event["delta"])
            elif event["type"] == "response.done":
                break
    return as_wav(audio, 24_000)


async def wyoming(api: Api) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.settings.wyoming_port)
    writer.write(orjson.dumps({"type": "synthesize", "data": {"text": TEXT}}) + b"\n")
    audio = b""
    while True:
        line = orjson.loads(await reader.readuntil(b"\n"))
        await reader.readexactly(line.get("data_length", 0))
        audio += await reader.readexactly(line.get("payload_length", 0))
        if line["type"] == "audio-stop":
            break
    writer.close()
    return as_wav(audio, RATE)


@pytest.mark.parametrize(
    "speak",
    [
        openai_events,
        upstream,
        upstream_streamed,
        sillytavern,
        cosyvoice,
        own_socket,
        elevenlabs,
        openai_realtime,
        wyoming,
    ],
)
async def test_every_live_interface_marks_its_speech(marked: Api, speak: Callable[[Api], Awaitable[bytes]]) -> None:
    async with asyncio.timeout(60):
        audio = await speak(marked)

    assert await is_synthetic(marked, audio)
