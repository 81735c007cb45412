"""Text in, audio out, at the same time: our own WebSocket."""

from __future__ import annotations

import asyncio
import base64
import io
import wave
from collections.abc import AsyncIterator
from typing import Any

import av
import orjson
import pytest
from api_support import RATE, Api, ToneWorkers, eventually, make_voice, running
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from core.records import Records, VoiceRecord
from core.settings import Settings

pytestmark = pytest.mark.usefixtures("tone_workers", "voice")


def open_socket(api: Api, **options: Any) -> connect:
    return connect(api.url.replace("http://", "ws://") + "/v1/audio/speech/stream", **options)


@pytest.fixture
async def socket(api: Api) -> AsyncIterator[ClientConnection]:
    async with open_socket(api) as connection:
        yield connection


async def send(socket: ClientConnection, kind: str, **fields: Any) -> None:
    await socket.send(orjson.dumps({"type": kind, **fields}).decode())


async def receive(socket: ClientConnection, until: str) -> tuple[list[dict[str, Any]], bytes]:
    """Return all events up to one of a type, and the audio between them."""
    events: list[dict[str, Any]] = []
    audio = b""
    async with asyncio.timeout(20):
        while not events or events[-1]["type"] != until:
            message = await socket.recv()
            if isinstance(message, bytes):
                assert events[-1]["type"] == "audio.delta"
                assert events[-1]["bytes"] == len(message)
                audio += message
            else:
                events.append(orjson.loads(message))
    return events, audio


async def test_text_in_pieces_becomes_audio_sentence_by_sentence(socket: ClientConnection) -> None:
    for piece in ("Hel", "lo there. How ", "are you", " today?"):
        await send(socket, "text.append", text=piece)
    await send(socket, "text.done")

    events, audio = await receive(socket, "turn.done")

    assert events[0] == {"type": "turn.started", "turn": 1, "format": "pcm"}
    words = [event for event in events if event["type"] == "words"]
    assert [event["text"] for event in words] == ["Hello there.", "How are you today?"]
    assert [(event["start"], event["end"]) for event in words] == [(0, 12), (13, 31)]
    assert {event["sample_rate"] for event in events if event["type"] == "audio.delta"} == {RATE}
    assert events[-1]["cancelled"] is False
    assert [spoken["complete"] for spoken in events[-1]["spoken"]] == [True, True]
    assert events[-1]["seconds"] == pytest.approx(len(audio) / 2 / RATE, abs=0.001)


async def test_a_sentence_is_spoken_before_the_text_is_done(socket: ClientConnection) -> None:
    await send(socket, "text.append", text="This is complete. And this is")

    events, audio = await receive(socket, "words")

    assert events[-1]["text"] == "This is complete."
    assert audio


async def test_several_turns_follow_one_another_with_new_settings(socket: ClientConnection) -> None:
    await send(socket, "text.append", text="One.")
    await send(socket, "text.done")
    await send(socket, "session.update", voice="Allison", format="wav", audio="base64", speed=2.0)
    await send(socket, "text.append", text="Two.")
    await send(socket, "text.done")

    first, _ = await receive(socket, "turn.done")
    second, _ = await receive(socket, "turn.done")

    assert first[-1]["turn"] == 1
    assert second[-1]["turn"] == 2
    audio = b"".join(base64.b64decode(event["audio"]) for event in second if event["type"] == "audio.delta")
    assert audio.startswith(b"RIFF")


@pytest.mark.parametrize(
    ("audio_format", "rate", "delivered"),
    [
        ("pcm", 8_000, 8_000),
        ("pcm", 48_000, 48_000),
        ("pcm", None, RATE),
        ("pcm_mulaw", None, 8_000),
        ("wav", 22_050, 22_050),
        ("opus", 24_000, 48_000),
    ],
)
async def test_the_audio_has_the_rate_that_the_session_asks_for_and_its_events_say(
    socket: ClientConnection, audio_format: str, rate: int | None, delivered: int
) -> None:
    await send(socket, "session.update", format=audio_format, sample_rate=rate)
    await send(socket, "text.append", text="Hello there. How are you today?")
    await send(socket, "text.done")

    events, audio = await receive(socket, "turn.done")

    deltas = [event for event in events if event["type"] == "audio.delta"]
    assert {event["sample_rate"] for event in deltas} == {delivered}
    if audio_format == "opus":
        with av.open(io.BytesIO(audio), "r") as container:
            samples = sum(frame.samples for frame in container.decode(audio=0))
    elif audio_format == "wav":
        with wave.open(io.BytesIO(audio)) as file:
            assert file.getframerate() == delivered
        samples = (len(audio) - 44) // 2
    else:
        samples = len(audio) // (1 if audio_format == "pcm_mulaw" else 2)
    assert samples / delivered == pytest.approx(events[-1]["seconds"], abs=0.1)
    assert events[-1]["seconds"] == pytest.approx((12 + 18) / 20 + 0.3, abs=0.05)


@pytest.mark.parametrize("rate", [7_999, 48_001, "high", 0.5])
async def test_a_rate_that_no_audio_has_is_rejected_and_named(socket: ClientConnection, rate: object) -> None:
    await send(socket, "session.update", sample_rate=rate)

    events, _ = await receive(socket, "error")

    assert events[-1]["error"]["code"] == "invalid_request"
    assert "sample_rate" in events[-1]["error"]["message"]


@pytest.mark.parametrize("pieces", [["..."], ["!", " ?! "], [" "], [""], ["", "\n", "…"], ["🙂"]])
@pytest.mark.parametrize("audio_format", ["pcm", "mp3"])
async def test_a_text_without_a_word_is_an_empty_turn(
    socket: ClientConnection, pieces: list[str], audio_format: str
) -> None:
    await send(socket, "session.update", format=audio_format)
    for piece in pieces:
        await send(socket, "text.append", text=piece)
    await send(socket, "text.flush")
    await send(socket, "text.done")
    events, audio = await receive(socket, "turn.done")

    assert [event["type"] for event in events] == ["session.updated", "turn.started", "turn.done"]
    assert (events[-1]["cancelled"], events[-1]["seconds"], events[-1]["spoken"], audio) == (False, 0.0, [], b"")

    await send(socket, "text.append", text="Two.")
    await send(socket, "text.done")
    events, _ = await receive(socket, "turn.done")
    assert (events[-1]["turn"], [spoken["text"] for spoken in events[-1]["spoken"]]) == (2, ["Two."])


async def test_flush_speaks_what_is_not_a_sentence_yet(socket: ClientConnection) -> None:
    await send(socket, "text.append", text="Wait for it")
    await send(socket, "text.flush")

    events, _ = await receive(socket, "words")

    assert events[-1]["text"] == "Wait for it"


async def test_cancel_answers_with_what_was_sent_and_the_next_turn_begins(
    socket: ClientConnection, tone_workers: ToneWorkers
) -> None:
    tone_workers.gate.clear()
    await send(socket, "text.append", text="The first sentence. The second sentence. The third sentence.")
    await send(socket, "text.done")
    await receive(socket, "words")
    await send(socket, "cancel")

    events, _ = await receive(socket, "turn.done")

    assert events[-1]["cancelled"] is True
    assert [spoken["text"] for spoken in events[-1]["spoken"]] == ["The first sentence."]
    tone_workers.gate.set()
    await send(socket, "text.append", text="Again.")
    await send(socket, "text.done")
    events, _ = await receive(socket, "turn.done")
    assert [spoken["text"] for spoken in events[-1]["spoken"]] == ["Again."]


async def test_a_client_that_leaves_cancels_what_was_not_spoken(api: Api, tone_workers: ToneWorkers) -> None:
    tone_workers.gate.clear()
    async with open_socket(api) as connection:
        await send(connection, "text.append", text="The first sentence. The second sentence.")
        await send(connection, "text.done")
        await receive(connection, "words")
        await eventually(lambda: len(tone_workers.requests) == 2)

    await eventually(lambda: tone_workers.cancelled)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no json", "invalid_request"),
        ("[]", "invalid_request"),
        ('{"type": "unknown"}', "invalid_request"),
        ('{"type": "text.append"}', "invalid_request"),
        ('{"type": "session.update", "speed": 99}', "invalid_request"),
        ('{"type": "session.update", "top_k": 0}', "invalid_request"),
    ],
)
async def test_a_message_that_is_none_gets_an_error_and_the_connection_stays(
    socket: ClientConnection, message: str, code: str
) -> None:
    await socket.send(message)
    events, _ = await receive(socket, "error")
    assert events[-1]["error"]["code"] == code

    await send(socket, "text.append", text="Still here.")
    await send(socket, "text.done")
    events, _ = await receive(socket, "turn.done")
    assert events[-1]["spoken"]


async def test_an_unknown_voice_fails_its_turn_and_not_the_next_one(socket: ClientConnection) -> None:
    await send(socket, "session.update", voice="nobody")
    await send(socket, "text.append", text="One sentence. ")
    await send(socket, "text.append", text="This is ignored.")
    await send(socket, "text.done")
    events, _ = await receive(socket, "error")
    assert events[-1]["error"]["code"] == "voice_not_found"
    assert events[-1]["turn"] == 1

    await send(socket, "session.update", voice="Allison")
    await send(socket, "text.append", text="Two.")
    await send(socket, "text.done")
    events, _ = await receive(socket, "turn.done")
    assert [spoken["text"] for spoken in events[-1]["spoken"]] == ["Two."]


async def test_more_text_than_a_turn_may_have_is_rejected(settings: Settings, records: Records) -> None:
    await make_voice(records, "Bob")
    async with (
        running(settings.model_copy(update={"max_text_characters": 50})) as api,
        open_socket(api) as connection,
    ):
        await send(connection, "text.append", text="word " * 20)
        events, _ = await receive(connection, "error")

    assert events[-1]["error"]["code"] == "text_too_long"


async def test_a_key_that_may_speak_is_needed_where_keys_exist(settings: Settings, voice: VoiceRecord) -> None:
    async with running(settings.model_copy(update={"valid_api_keys": ("k1",)})) as api:
        with pytest.raises(InvalidStatus) as rejected:
            await open_socket(api).__aenter__()
        assert rejected.value.response.status_code == 401
        async with open_socket(api, additional_headers={"X-API-Key": "k1"}) as connection:
            await send(connection, "text.append", text="Hello.")
            await send(connection, "text.done")
            events, _ = await receive(connection, "turn.done")

    assert events[-1]["spoken"]


async def test_a_turn_in_a_language_that_the_voice_does_not_speak_says_so_or_fails(socket: ClientConnection) -> None:
    await send(socket, "text.append", text="안녕. 안녕.")
    await send(socket, "text.done")
    warned, _ = await receive(socket, "turn.done")

    await send(socket, "session.update", strict_language=True)
    await send(socket, "text.append", text="Hello. 안녕.")
    await send(socket, "text.done")
    strict, _ = await receive(socket, "error")

    assert warned[-1]["warnings"] == ['language_not_spoken; text="ko"; voice="zh, en"']
    assert strict[-1]["error"]["code"] == "language_not_spoken"
