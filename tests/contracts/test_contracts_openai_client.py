"""The official `openai` package as a program, against the whole daemon."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import openai
import orjson
import pytest

from scripts.demo_daemon import Daemon

pytestmark = pytest.mark.slow

CLIENT = Path(__file__).resolve().parents[2] / "docs" / "clients" / "openai_speech.py"
TEXT = "Good morning. How are you?"
FORMATS = ("mp3", "opus", "aac", "flac", "wav")
SHORTEST, LONGEST = 0.8, 6.0
"""Seconds that such a text may last."""


@pytest.fixture(scope="module")
def client(contract_daemon: Daemon) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{contract_daemon.url}/v1", api_key="none", max_retries=0) as connected:
        yield connected


def seconds_of(content: bytes) -> float:
    with av.open(io.BytesIO(content), "r") as container:
        stream = container.streams.audio[0]
        return sum(frame.samples for frame in container.decode(stream)) / stream.rate


@pytest.mark.parametrize("voice", ["alloy", "ash", "ballad", "coral", "echo", "fable", "nova", "onyx", "sage", "verse"])
def test_each_of_its_voices_speaks(client: openai.OpenAI, voice: str) -> None:
    reply = client.audio.speech.create(model="tts-1", voice=voice, input="Hello.", response_format="wav")

    assert seconds_of(reply.content) > 0.2


@pytest.mark.parametrize("audio_format", FORMATS)
def test_every_format_is_read_whole(client: openai.OpenAI, audio_format: Any) -> None:
    reply = client.audio.speech.create(model="tts-1-hd", voice="alloy", input=TEXT, response_format=audio_format)

    assert SHORTEST < seconds_of(reply.content) < LONGEST


@pytest.mark.parametrize("audio_format", FORMATS)
def test_every_format_is_streamed_to_a_file(client: openai.OpenAI, audio_format: Any, tmp_path: Path) -> None:
    path = tmp_path / f"speech.{audio_format}"
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="nova", input=TEXT, response_format=audio_format, instructions="Cheerful."
    ) as reply:
        reply.stream_to_file(path)

    assert SHORTEST < seconds_of(path.read_bytes()) < LONGEST


def test_raw_samples_are_played_at_24_khz(client: openai.OpenAI) -> None:
    raw = client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format="pcm")
    wav = client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format="wav")

    assert raw.response.headers["x-sample-rate"] == "24000"
    assert len(raw.content) / 2 / 24_000 == pytest.approx(seconds_of(wav.content), rel=0.5)


def test_events_carry_the_audio(client: openai.OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="alloy", input=TEXT, response_format="mp3", stream_format="sse"
    ) as reply:
        events = [orjson.loads(line[6:]) for line in reply.iter_lines() if line.startswith("data: ")]

    audio = b"".join(base64.b64decode(event["audio"]) for event in events if event["type"] == "speech.audio.delta")
    assert events[-1]["type"] == "speech.audio.done"
    assert SHORTEST < seconds_of(audio) < LONGEST


def test_models_and_errors_are_those_that_it_knows(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    with pytest.raises(openai.NotFoundError, match="no-such-voice") as unknown:
        client.audio.speech.create(model="tts-1", voice="no-such-voice", input=TEXT)
    with pytest.raises(openai.BadRequestError) as fast:
        client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, speed=9.0)

    assert {"tts-1", "tts-1-hd", "gpt-4o-mini-tts"} <= set(names)
    assert (unknown.value.code, unknown.value.param) == ("voice_not_found", "voice")
    assert fast.value.param == "speed"


def test_the_script_of_the_documentation_speaks(contract_daemon: Daemon, tmp_path: Path) -> None:
    voice = httpx.get(f"{contract_daemon.url}/voices").json()[0]
    environment = os.environ | {"BASE": contract_daemon.url}

    completed = subprocess.run(
        [sys.executable, str(CLIENT), voice, TEXT],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert "speech.wav" in completed.stdout
    assert SHORTEST < seconds_of((tmp_path / "speech.wav").read_bytes()) < LONGEST
