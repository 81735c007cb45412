"""Programs that speak live by other services' protocols, unmodified: ElevenLabs, OpenAI Realtime, Wyoming."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import openai
import orjson
import pytest
from api_support import RATE, Api, ToneWorkers, running
from elevenlabs.client import ElevenLabs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from core.records import VoiceRecord
from core.settings import Settings

TEXT = "Hello there. How are you today."

pytestmark = pytest.mark.usefixtures("tone_workers", "voice")


@pytest.mark.filterwarnings("ignore:ConnectionClosed.code is deprecated")  # which that client still reads
async def test_elevenlabs_own_client_streams_text_and_receives_audio(api: Api) -> None:
    client = ElevenLabs(base_url=api.url, api_key="none")
    # The client insists on TLS, which a proxy would end.
    client.text_to_speech._ws_base_url = api.url.replace("http://", "ws://")

    def words() -> Iterator[str]:
        yield from ("Hello ", "there. ", "How are ", "you today.")

    def speak(output_format: Any) -> bytes:
        return b"".join(client.text_to_speech.convert_realtime("Allison", text=words(), output_format=output_format))

    mp3 = await asyncio.to_thread(speak, "mp3_44100_128")
    pcm = await asyncio.to_thread(speak, "pcm_8000")

    assert mp3.startswith(b"ID3")
    assert len(pcm) / 2 / 8_000 == pytest.approx((12 + 18) / 20 + 0.3, abs=0.05)


async def test_stream_input_reports_what_it_cannot_speak_and_ends(api: Api) -> None:
    base = api.url.replace("http://", "ws://") + "/v1/text-to-speech"
    for path, message, reason in (
        ("/nobody/stream-input", {"text": "Hello. "}, "voice_not_found"),
        ("/Allison/stream-input?output_format=wav_1", {"text": " "}, "invalid_request"),
        ("/Allison/stream-input", {"words": 1}, "invalid_request"),
    ):
        async with connect(base + path) as connection:
            with suppress(ConnectionClosed):  # it may know already
                await connection.send(orjson.dumps(message).decode())
            answer = orjson.loads(await connection.recv())
            with pytest.raises(ConnectionClosed):
                await connection.recv()
        assert answer["error"] == reason
        assert connection.close_code == 1008


@pytest.mark.parametrize("texts", [[" ", ""], [""], [" ", "... ", ""], ["?!", " ", "🙂", ""]])
async def test_stream_input_without_a_word_ends_at_once(api: Api, texts: list[str]) -> None:
    url = api.url.replace("http://", "ws://") + "/v1/text-to-speech/Allison/stream-input"
    async with connect(url) as connection, asyncio.timeout(20):
        for text in texts:
            await connection.send(orjson.dumps({"text": text}).decode())
        assert orjson.loads(await connection.recv()) == {"audio": None, "isFinal": True}


async def test_openais_realtime_client_has_its_message_spoken(api: Api) -> None:
    client = openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none")
    audio, transcript, kinds = b"", "", []
    async with client.realtime.connect(model="gpt-realtime") as connection, asyncio.timeout(20):
        await connection.session.update(
            session={"type": "realtime", "audio": {"output": {"voice": "Allison", "speed": 1.5}}}
        )
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": TEXT}]}
        )
        await connection.response.create()
        async for event in connection:
            kinds.append(event.type)
            if event.type == "response.output_audio.delta":
                audio += base64.b64decode(event.delta)
            elif event.type == "response.output_audio_transcript.done":
                transcript = event.transcript
            elif event.type == "response.done":
                assert event.response.status == "completed"
                break

    assert kinds[:3] == ["session.created", "session.updated", "conversation.item.added"]
    assert kinds.count("response.created") == 1
    assert transcript == TEXT
    assert len(audio) / 2 / 24_000 == pytest.approx(30 / 20 / 1.5 + 0.3, abs=0.05)


async def test_realtime_rejects_what_it_cannot_do_by_name_and_goes_on(api: Api) -> None:
    client = openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none")
    async with client.realtime.connect(model="gpt-realtime") as connection, asyncio.timeout(20):
        await connection.input_audio_buffer.append(audio="AAAA")
        await connection.response.create()
        await connection.session.update(
            session={"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcmu"}}}}
        )
        messages = []
        async for event in connection:
            if event.type == "error":
                messages.append(event.error.message)
            if len(messages) == 3:
                break

    assert "input_audio_buffer.append" in messages[0]
    assert "no text to speak" in messages[1]
    assert "audio/pcmu" in messages[2]


async def test_realtime_cancels_a_response(api: Api, tone_workers: ToneWorkers) -> None:
    tone_workers.gate.clear()
    client = openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none")
    async with client.realtime.connect(model="gpt-realtime") as connection, asyncio.timeout(20):
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": TEXT}]}
        await connection.conversation.item.create(item=item)  # type: ignore[arg-type]
        await connection.response.create()
        async for event in connection:
            if event.type == "response.output_audio_transcript.delta":
                await connection.response.cancel()
            elif event.type == "response.done":
                assert event.response.status == "cancelled"
                break


@pytest.fixture
async def wyoming(settings: Settings, free_port: int) -> AsyncIterator[AsyncTcpClient]:
    async with (
        running(settings.model_copy(update={"wyoming_port": free_port})),
        AsyncTcpClient("127.0.0.1", free_port) as client,
    ):
        yield client


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def next_event(client: AsyncTcpClient) -> Event:
    async with asyncio.timeout(20):
        event = await client.read_event()
    assert event is not None
    return event


async def read_speech(client: AsyncTcpClient) -> tuple[AudioStart, bytes]:
    start = AudioStart.from_event(await next_event(client))
    audio = b""
    while not AudioStop.is_type((event := await next_event(client)).type):
        audio += AudioChunk.from_event(event).audio
    return start, audio


async def test_home_assistant_finds_the_voices(wyoming: AsyncTcpClient, voice: VoiceRecord) -> None:
    await wyoming.write_event(Describe().event())

    [program] = Info.from_event(await next_event(wyoming)).tts

    assert program.supports_synthesize_streaming
    assert [(item.name, item.languages) for item in program.voices] == [("Allison", ["en"])]


async def test_home_assistant_has_a_text_spoken(wyoming: AsyncTcpClient) -> None:
    await wyoming.write_event(Ping(text="a").event())
    assert Pong.from_event(await next_event(wyoming)).text == "a"
    await wyoming.write_event(Synthesize(text=TEXT, voice=SynthesizeVoice(name="Allison")).event())

    start, audio = await read_speech(wyoming)

    assert (start.rate, start.width, start.channels) == (RATE, 2, 1)
    assert len(audio) / 2 / RATE == pytest.approx(30 / 20 + 0.3, abs=0.01)


async def test_home_assistant_streams_a_text_while_it_is_written(wyoming: AsyncTcpClient) -> None:
    await wyoming.write_event(SynthesizeStart(voice=SynthesizeVoice(language="en-US")).event())
    for piece in ("Hello there. ", "How are you ", "today."):
        await wyoming.write_event(SynthesizeChunk(text=piece).event())
    await wyoming.write_event(Synthesize(text=TEXT).event())  # for servers that do not stream
    await wyoming.write_event(SynthesizeStop().event())

    _, audio = await read_speech(wyoming)

    assert SynthesizeStopped.is_type((await next_event(wyoming)).type)
    assert len(audio) / 2 / RATE == pytest.approx(30 / 20 + 0.3, abs=0.01)


@pytest.mark.parametrize("text", ["...", " ", ""])
async def test_home_assistant_has_a_text_without_a_word_spoken_as_nothing(wyoming: AsyncTcpClient, text: str) -> None:
    await wyoming.write_event(Synthesize(text=text).event())
    _, audio = await read_speech(wyoming)
    assert audio == b""

    await wyoming.write_event(SynthesizeStart().event())
    if text:
        await wyoming.write_event(SynthesizeChunk(text=text).event())
    await wyoming.write_event(SynthesizeStop().event())
    _, audio = await read_speech(wyoming)
    assert audio == b""
    assert SynthesizeStopped.is_type((await next_event(wyoming)).type)

    await wyoming.write_event(Synthesize(text=TEXT).event())
    assert (await read_speech(wyoming))[1]


async def test_realtime_completes_a_response_without_a_word(api: Api) -> None:
    client = openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none")
    async with client.realtime.connect(model="gpt-realtime") as connection, asyncio.timeout(20):
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "..."}]}
        )
        await connection.response.create()
        async for event in connection:
            assert event.type not in ("error", "response.output_audio.delta")
            if event.type == "response.done":
                assert event.response.status == "completed"
                break


async def test_wyoming_names_an_unknown_voice_and_goes_on(wyoming: AsyncTcpClient) -> None:
    await wyoming.write_event(Synthesize(text=TEXT, voice=SynthesizeVoice(name="nobody")).event())
    assert Error.from_event(await next_event(wyoming)).code == "voice_not_found"

    await wyoming.write_event(Synthesize(text=TEXT, voice=SynthesizeVoice(name="Allison")).event())
    assert (await read_speech(wyoming))[1]


@pytest.mark.parametrize(
    "content",
    [b"no json\n", b"[]\n", b'{"type": 5}\n', b'{"type": "x", "data_length": -1}\n', b"x" * 70_000 + b"\n",
     b'{"type": "x", "payload_length": 99999999999}\n'],
)  # fmt: skip
async def test_what_is_no_wyoming_event_is_answered_and_the_connection_closed(
    wyoming: AsyncTcpClient, free_port: int, content: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
    writer.write(content)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()

    assert orjson.loads(answer.split(b"\n")[0])["type"] == "error"
