"""Every way in which speech leaves the API carries the mark."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import httpx
import orjson
import pytest
from api_support import RATE, Api
from mark_table import DOCUMENTS, Delivery, documented, is_watermarked, measured
from recorded_speech import recorded_speech
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from api.http.route_table import all_routes
from common.audio_formats import AUDIO_FORMATS, TELEPHONY_FORMATS
from core.jobs.queue import AsyncQueue
from core.marks.speech_marks import SpeechMarks
from core.records import Records
from core.settings import Settings

TEXT = "Hello there. How are you today. This is a test of every way out."


@pytest.fixture
async def marked(settings: Settings, queue: AsyncQueue, records: Records, unused_tcp_port: int) -> AsyncIterator[Api]:
    marking = settings.model_copy(
        update={"mark_watermark": True, "mark_metadata": True, "wyoming_port": unused_tcp_port}
    )
    async with recorded_speech(marking, queue, records) as api:
        yield api


def mime_rate(headers: httpx.Headers) -> int:
    return int(headers.get("x-sample-rate", 0))


async def openai(api: Api, audio_format: str) -> Delivery:
    streamed = {"stream_format": "audio"} if audio_format == "wav" else {}
    body = {"model": "nano", "voice": "Allison", "input": TEXT, "response_format": audio_format, **streamed}
    response = await api.client.post("/v1/audio/speech", json=body)
    assert response.status_code == 200, response.text
    return Delivery(response.content, audio_format, mime_rate(response.headers), response.headers)


async def openai_whole(api: Api, audio_format: str) -> Delivery:
    body = {"model": "nano", "voice": "Allison", "input": TEXT, "response_format": audio_format}
    response = await api.client.post("/v1/audio/speech", json=body)
    return Delivery(response.content, audio_format, headers=response.headers)


async def openai_events(api: Api, audio_format: str) -> Delivery:
    body = {"model": "nano", "voice": "Allison", "input": TEXT, "response_format": audio_format, "sample_rate": RATE}
    response = await api.client.post("/v1/audio/speech", json=body | {"stream_format": "sse"})
    events = [orjson.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    audio = b"".join(base64.b64decode(event["audio"]) for event in events if "audio" in event)
    return Delivery(audio, audio_format, RATE, response.headers, event=events[0]["aigc"])


async def upstream(api: Api, audio_format: str) -> Delivery:
    body = {"text": TEXT, "text_lang": "en", "ref_audio_path": "Allison", "prompt_lang": "en"}
    response = await api.client.post("/tts", json=body | {"media_type": audio_format})
    assert response.status_code == 200, response.text
    return Delivery(response.content, audio_format, mime_rate(response.headers), response.headers)


async def upstream_streamed(api: Api, audio_format: str) -> Delivery:
    query = {"text": TEXT, "text_lang": "en", "ref_audio_path": "Allison", "prompt_lang": "en", "streaming_mode": "2"}
    response = await api.client.get("/tts", params=query | {"media_type": audio_format})
    return Delivery(response.content, audio_format, mime_rate(response.headers), response.headers)


async def sillytavern(api: Api, audio_format: str) -> Delivery:
    body = {"text": TEXT, "speaker": "Allison", "streaming": 1, "media_type": audio_format}
    response = await api.client.post("/", json=body)
    return Delivery(response.content, audio_format, headers=response.headers)


async def first_interface(api: Api, audio_format: str) -> Delivery:
    query = {"text": TEXT, "text_language": "en", "refer_wav_path": "Allison", "prompt_language": "en"}
    response = await api.client.get("/", params=query | {"prompt_text": "Hello."})
    assert response.status_code == 200, response.text
    return Delivery(response.content, audio_format, headers=response.headers)


async def to_audio(api: Api, audio_format: str) -> Delivery:
    response = await api.client.post("/tts_to_audio/", json={"text": TEXT, "speaker_wav": "Allison", "language": "en"})
    assert response.status_code == 200, response.text
    return Delivery(response.content, audio_format, headers=response.headers)


async def cosyvoice(api: Api, audio_format: str) -> Delivery:
    answer = await api.client.post("/synthesize", json={"target": TEXT, "voice": "Allison"})
    response = await api.client.get(httpx.URL(answer.json()["download_url"]).path)
    return Delivery(response.content, audio_format, headers=response.headers)


async def own_socket(api: Api, audio_format: str) -> Delivery:
    audio, label = b"", None
    async with connect(api.url.replace("http://", "ws://") + "/v1/audio/speech/stream") as socket:
        for message in ({"type": "session.update", "format": audio_format}, {"type": "text.append", "text": TEXT}):
            await socket.send(orjson.dumps(message).decode())
        await socket.send('{"type": "text.done"}')
        async for received in socket:
            event = {} if isinstance(received, bytes) else orjson.loads(received)
            audio += received if isinstance(received, bytes) else b""
            label = label or event.get("aigc")
            if event.get("type") == "turn.done":
                break
    return Delivery(audio, audio_format, RATE if audio_format == "pcm" else 8_000, event=label)


async def elevenlabs(api: Api, audio_format: str) -> Delivery:
    output = {"mp3": "mp3_44100_128", "pcm": "pcm_16000", "opus": "opus_48000_32", "pcm_mulaw": "ulaw_8000"}
    path = f"/v1/text-to-speech/Allison/stream-input?output_format={output[audio_format]}"
    audio, label = b"", None
    async with connect(api.url.replace("http://", "ws://") + path) as socket:
        for text in (" ", TEXT, ""):
            await socket.send(orjson.dumps({"text": text}).decode())
        with suppress(ConnectionClosed):
            async for received in socket:
                message = orjson.loads(received)
                audio += base64.b64decode(message["audio"] or b"")
                label = label or message.get("aigc")
    return Delivery(audio, audio_format, 16_000 if audio_format == "pcm" else 8_000, event=label)


async def openai_realtime(api: Api, audio_format: str) -> Delivery:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": TEXT}]}
    audio, label = b"", None
    async with connect(api.url.replace("http://", "ws://") + "/v1/realtime") as socket:
        for message in ({"type": "conversation.item.create", "item": item}, {"type": "response.create"}):
            await socket.send(orjson.dumps(message).decode())
        async for received in socket:
            event = orjson.loads(received)
            label = label or event.get("aigc")
            if event["type"] == "response.output_audio.delta":
                audio += base64.b64decode(event["delta"])
            elif event["type"] == "response.done":
                break
    return Delivery(audio, audio_format, 24_000, event=label)


async def wyoming(api: Api, audio_format: str) -> Delivery:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.settings.wyoming_port)
    writer.write(orjson.dumps({"type": "synthesize", "data": {"text": TEXT}}) + b"\n")
    audio, label = b"", None
    while True:
        line = orjson.loads(await reader.readuntil(b"\n"))
        content = await reader.readexactly(line.get("data_length", 0))
        audio += await reader.readexactly(line.get("payload_length", 0))
        label = label or {**line.get("data", {}), **orjson.loads(content or b"{}")}.get("aigc")
        if line["type"] == "audio-stop":
            break
    writer.close()
    return Delivery(audio, audio_format, RATE, event=label)


ALL_FORMATS = (*AUDIO_FORMATS, *TELEPHONY_FORMATS)
UPSTREAM_FORMATS = ("wav", "ogg", "aac", "raw")
OUTPUTS: dict[str, tuple[Callable[[Api, str], Any], tuple[str, ...]]] = {
    "POST /v1/audio/speech (stream)": (openai, ALL_FORMATS),
    "POST /v1/audio/speech": (openai_whole, ("wav",)),
    "POST /v1/audio/speech (sse)": (openai_events, ("mp3", "pcm")),
    "POST /tts": (upstream, UPSTREAM_FORMATS),
    "GET /tts?streaming_mode=2": (upstream_streamed, UPSTREAM_FORMATS),
    "POST /": (sillytavern, ("wav", "mp3", "flac")),
    "GET /?text": (first_interface, ("wav",)),
    "POST /tts_to_audio": (to_audio, ("wav",)),
    "POST /synthesize": (cosyvoice, ("wav",)),
    "WS /v1/audio/speech/stream": (own_socket, ALL_FORMATS),
    "WS /v1/text-to-speech/{voice_id}/stream-input": (elevenlabs, ("mp3", "opus", "pcm", "pcm_mulaw")),
    "WS /v1/realtime": (openai_realtime, ("pcm",)),
    "Wyoming": (wyoming, ("pcm",)),
}
"""Output → how it is received, and in which formats. The outputs of workers are tested with their roles."""
WORKERS_OUTPUTS = {
    "GET /api/v1/inference/{inference_id}/audio",
    "GET /api/v1/inference/subtitles/{dubbing_id}/audio",
    "GET /api/v1/inference/batch/{batch_id}/archive",
}
SAMPLES = {
    "GET /api/v1/experiments/{exp_id}/stages/{stage}/artefacts/{name}",
    "GET /api/v1/task/{task_id}/files/download/{filename}",
}


@pytest.mark.parametrize("output", OUTPUTS)
async def test_every_output_is_marked_as_the_documents_say(marked: Api, output: str) -> None:
    receive, formats = OUTPUTS[output]
    marks = SpeechMarks(marked.settings)
    for audio_format in formats:
        async with asyncio.timeout(60):
            delivery = await receive(marked, audio_format)

        assert await asyncio.to_thread(is_watermarked, marks, delivery), (output, audio_format)
        for document in DOCUMENTS:
            assert measured(delivery) == documented(document)[output, audio_format], (document, output, audio_format)


def test_the_documents_list_no_output_that_is_not_tested() -> None:
    tested = {(output, audio_format) for output, (_, formats) in OUTPUTS.items() for audio_format in formats}
    for document in DOCUMENTS:
        listed = {row for row in documented(document) if row[0].split("?")[0] not in WORKERS_OUTPUTS | SAMPLES}
        assert listed == tested, document
        assert {output for output, _ in documented(document)} >= WORKERS_OUTPUTS | SAMPLES


WITHOUT_SPEECH = {
    "GET /api/v1/files/{file_id}": "what somebody uploaded",
    "GET /api/v1/datasets/{dataset_id}/segments/{number}/audio": "a part of a recording",
    "GET /api/v1/voices/{voice}/prompts/proposals/{proposal}/audio": "a part of a recording",
    "GET /api/v1/consents/{consent_id}/recording": "a recording",
    "GET /api/v1/voices/{voice}/prompts/{prompt}/audio": "a recording",
    "GET /api/v1/voices/{voice}/export": "checkpoints and recordings",
    "GET /api/v1/inference/{inference_id}/subtitles": "text",
    "GET /control": "no content",
    "POST /control": "no content",
}
SAME_AS = {"GET /tts": "GET /tts?streaming_mode=2", "POST /tts_to_audio/": "POST /tts_to_audio"}
SAME_AS["GET /audio/{filename}"] = "POST /synthesize"


async def test_no_route_sends_files_or_streams_that_this_test_does_not_know(marked: Api) -> None:
    tested = {output.split(" (")[0] for output in OUTPUTS} | WORKERS_OUTPUTS | SAMPLES | set(WITHOUT_SPEECH)
    for route in all_routes(marked.app):
        response_class = getattr(route, "response_class", None)
        kind = getattr(getattr(response_class, "value", response_class), "__name__", "")
        if kind.endswith(("JSONResponse", "EventStream", "DefaultPlaceholder")) or kind.startswith("HTML"):
            continue
        methods = getattr(route, "methods", None) or {"WS"}
        for method in methods - {"HEAD"}:
            name = f"{method} {route.path}"
            if method == "WS" and route.path.endswith("/ws"):
                continue  # progress, in words
            assert SAME_AS.get(name, name) in tested, f"{name} answers with {kind}: is it speech, and is it marked?"
