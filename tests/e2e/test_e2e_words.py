"""Word timestamps of a real daemon with the bundled voice, by every interface that tells them."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import soundfile
import websockets
from server_sent_events import read_events

from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
TEXT = "Hello there, I paid $5.99 😀. {500ms} On March 5, Dr. {WHO|=World Health} said “yes” — twice!"
WORDS = ["Hello", "there,", "I", "paid", "$5.99 😀.", "On", "March", "5,", "Dr.", "WHO", "said", "“yes” —", "twice!"]
REQUEST = {"voice": "allison", "seed": 3}


def check(words: list[dict[str, Any]], seconds: float, text: str = TEXT) -> None:
    """Check that words cover the text and lie in the audio, in order."""
    assert [word["text"] for word in words] == WORDS
    assert words[0]["text_start"] == 0
    assert words[-1]["text_end"] == len(text)
    assert all(word["text_end"] == following["text_start"] for word, following in pairwise(words))
    assert all(word["start"] < word["end"] for word in words)
    assert all(word["end"] <= following["start"] for word, following in pairwise(words))
    assert words[-1]["end"] <= seconds + 0.001
    assert words[5]["start"] - words[4]["end"] >= 0.5  # the pause


def check_verified(utterances: list[dict[str, Any]]) -> None:
    """Check the report of every utterance of a text."""
    assert utterances
    assert [utterance["index"] for utterance in utterances] == list(range(len(utterances)))
    for utterance in utterances:
        assert utterance["text"]
        assert utterance["attempts"] >= 1
        assert utterance["verdict"] == ("doubtful" if utterance["faults"] else "ok")


def finished(client: httpx.Client, inference: dict[str, Any]) -> dict[str, Any]:
    for kind, data in read_events(client, f"/api/v1/inference/{inference['id']}/progress", silence=60):
        assert kind != "failed", data
    view: dict[str, Any] = client.get(f"/api/v1/inference/{inference['id']}").json()
    return view


def test_events_of_speech_tell_each_word_with_its_chunk(client: httpx.Client) -> None:
    body = {**REQUEST, "input": TEXT, "response_format": "pcm", "stream_format": "sse", "timestamps": "phoneme"}
    response = client.post("/v1/audio/speech", json=body)
    words: list[dict[str, Any]] = []
    verified: list[dict[str, Any]] = []
    seconds = 0.0
    for line in response.text.splitlines():
        if not line.startswith("data:"):
            continue
        event = orjson.loads(line.removeprefix("data:"))
        verified += event.get("verified", [])
        if "audio" in event:
            seconds += len(base64.b64decode(event["audio"])) / 2 / 24_000
            words += event.get("words", [])
            assert all(word["end"] <= seconds + 0.001 for word in event.get("words", []))

    check(words, seconds)
    assert [phoneme["phoneme"] for phoneme in words[0]["phonemes"]] == ["HH", "AH0", "L", "OW1"]
    check_verified(verified)
    assert event["type"] == "speech.audio.done"
    assert event["verification"]["verified"] == len(verified)


def test_audio_alone_rejects_timestamps(client: httpx.Client) -> None:
    response = client.post("/v1/audio/speech", json={**REQUEST, "input": "Hi.", "timestamps": "word"})

    assert response.status_code == 400
    assert response.json()["error"]["param"] == "timestamps"


@pytest.mark.parametrize(("rate", "speed"), [(0, 1.0), (22_050, 1.5)])
def test_an_inference_has_words_and_subtitles(client: httpx.Client, rate: int, speed: float) -> None:
    body = {**REQUEST, "text": TEXT, "timestamps": "word", "speed": speed, **({"sample_rate": rate} if rate else {})}
    view = finished(client, client.post("/api/v1/inference", json=body).json())
    words = [word for utterance in view["result"]["utterances"] for word in utterance["words"]]
    audio, own_rate = soundfile.read(io.BytesIO(client.get(view["result"]["download_url"]).content))

    check(words, len(audio) / own_rate)
    loud = [np.abs(audio[round(word["start"] * own_rate) : round(word["end"] * own_rate)]).max() for word in words]
    assert min(loud) > 0.02  # every word is heard where it is said to be
    pause = audio[round((words[4]["end"] + 0.12) * own_rate) : round((words[5]["start"] - 0.12) * own_rate)]
    assert np.abs(pause).max() < 0.01

    url = view["result"]["subtitles_url"]
    assert client.get(url).text.startswith("1\n00:00:")
    assert client.get(url, params={"format": "vtt"}).text.startswith("WEBVTT\n\n")
    assert client.get(url, params={"format": "json"}).json()["words"] == words
    assert client.get(url, params={"format": "ass"}).status_code == 422


def test_a_batch_packs_subtitles_beside_its_files(client: httpx.Client) -> None:
    items = [{"text": "The first one.", "filename": "a"}, {"text": "The second one is longer.", "filename": "b"}]
    batch = client.post(
        "/api/v1/inference/batch", json={**{"voice": "allison"}, "items": items, "subtitles": "vtt"}
    ).json()
    for kind, data in read_events(client, f"/api/v1/inference/batch/{batch['id']}/progress", silence=60):
        assert kind != "failed", data
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/api/v1/inference/batch/{batch['id']}/archive").content))

    assert set(archive.namelist()) == {"a.wav", "a.vtt", "b.wav", "b.vtt", "manifest.json"}
    assert "The second one is longer." in archive.read("b.vtt").decode()


def test_text_that_grows_is_timed_over_the_whole_turn(daemon: Daemon) -> None:
    async def converse() -> tuple[list[dict[str, Any]], list[dict[str, Any]], float]:
        url = daemon.url.replace("http", "ws") + "/v1/audio/speech/stream"
        with_chunks: list[dict[str, Any]] = []
        at_ends: list[dict[str, Any]] = []
        async with websockets.connect(url) as socket:
            await socket.send(orjson.dumps({"type": "session.update", **REQUEST, "audio": "base64"}).decode())
            for piece in ("One two three. ", "And {four|=forty} ", "five six."):
                await socket.send(orjson.dumps({"type": "text.append", "text": piece}).decode())
            await socket.send(orjson.dumps({"type": "text.done"}).decode())
            async for message in socket:
                event = orjson.loads(message)
                if event["type"] == "audio.delta":
                    with_chunks += event.get("words", [])
                elif event["type"] == "words":
                    at_ends += event["words"]
                elif event["type"] == "turn.done":
                    return with_chunks, at_ends, event["seconds"]
        raise AssertionError("the turn did not end")

    with_chunks, at_ends, seconds = asyncio.run(converse())

    assert with_chunks == at_ends
    assert [word["text"] for word in at_ends] == ["One", "two", "three.", "And", "four", "five", "six."]
    assert all(word["text_end"] == following["text_start"] for word, following in pairwise(at_ends))
    assert at_ends[-1]["text_end"] == len("One two three. And {four|=forty} five six.")
    assert all(word["end"] <= following["start"] for word, following in pairwise(at_ends))
    assert at_ends[-1]["end"] <= seconds


def test_elevenlabs_clients_get_the_characters_of_each_message(daemon: Daemon) -> None:
    async def converse() -> list[dict[str, Any]]:
        url = daemon.url.replace("http", "ws") + "/v1/text-to-speech/allison/stream-input"
        async with websockets.connect(f"{url}?output_format=pcm_16000&sync_alignment=true") as socket:
            for text in (" ", "One two three. ", ""):
                await socket.send(orjson.dumps({"text": text}).decode())
            return [orjson.loads(message) async for message in socket]

    messages = asyncio.run(converse())
    aligned = [message for message in messages if message.get("alignment")]

    check_verified([utterance for message in messages for utterance in message.get("verified", [])])
    assert "".join(character for message in aligned for character in message["alignment"]["chars"]).strip() == (
        "One two three."
    )
    for message in aligned:
        seconds = len(base64.b64decode(message["audio"])) / 2 / 16_000
        starts = message["alignment"]["charStartTimesMs"]
        assert starts == sorted(starts)
        assert 0 <= starts[-1] <= seconds * 1000 + 50


def test_a_realtime_response_tells_words_and_how_they_were_verified(daemon: Daemon) -> None:
    async def converse() -> list[dict[str, Any]]:
        content = [{"type": "input_text", "text": "One two three. Four five six."}]
        item = {"type": "message", "role": "user", "content": content}
        events: list[dict[str, Any]] = []
        async with websockets.connect(daemon.url.replace("http", "ws") + "/v1/realtime") as socket:
            for event in ({"type": "conversation.item.create", "item": item}, {"type": "response.create"}):
                await socket.send(orjson.dumps(event).decode())
            while not events or events[-1]["type"] != "response.done":
                events.append(orjson.loads(await socket.recv()))
        return events

    events = asyncio.run(converse())
    ends = [event for event in events if event["type"] == "response.output_audio_transcript.delta"]

    check_verified([event["verified"] for event in ends])
    assert " ".join(word["text"] for event in ends for word in event["words"]) == "One two three. Four five six."
    assert events[-1]["response"]["verification"]["verified"] == len(ends)


def test_speech_that_nobody_verifies_is_not_reported(client: httpx.Client) -> None:
    body = {**REQUEST, "input": "One.", "response_format": "pcm", "stream_format": "sse", "verify": "off"}

    text = client.post("/v1/audio/speech", json=body).text

    assert '"audio"' in text
    assert "verif" not in text


def test_the_command_line_writes_subtitles(daemon: Daemon, tmp_path: Path) -> None:
    command = [sys.executable, "main.py", "speak", "One two three.", "--voice", "allison"]
    files = ["--output", str(tmp_path / "a.wav"), "--subtitles", str(tmp_path / "a.srt")]
    subprocess.run(
        [*command, *files], check=True, cwd=ROOT, timeout=120, env=os.environ | {"DATA_PATH": str(daemon.data)}
    )

    assert (tmp_path / "a.srt").read_text().startswith("1\n00:00:0")
    assert soundfile.info(str(tmp_path / "a.wav")).duration > 0.5
