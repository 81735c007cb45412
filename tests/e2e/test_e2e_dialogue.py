"""Several voices, marks, pitch and volume in one text, spoken by a real daemon."""

from __future__ import annotations

import base64
import io
import itertools
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import soundfile
from server_sent_events import read_events
from websockets.sync.client import connect

from GPT_SoVITS.features.pitch import pitch
from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

REQUEST: dict[str, Any] = {"voice": "allison", "seed": 3, "verify": "off"}
DIALOGUE = "Good morning, how are you? [voice:Ben] I am fine, thank you. [/voice] That is good to hear."
ENDS = ["how are you?", "thank you.", "to hear."]


@pytest.fixture(scope="module")
def ben(client: httpx.Client) -> str:
    """Return the id of a second voice, of the same checkpoints."""
    allison = client.get("/api/v1/voices/allison").json()
    recording = client.get("/api/v1/voices/allison/prompts/default/audio")
    if recording.status_code == 404:
        name = allison["prompts"][0]["name"]
        recording = client.get(f"/api/v1/voices/allison/prompts/{name}/audio")
    uploaded = client.post("/api/v1/files", files={"file": ("a.wav", recording.content)}).json()
    prompt = {"name": "calm", "file_id": uploaded["id"], "text": allison["prompts"][0]["text"], "language": "en"}
    weights = {name: allison[name] for name in ("gpt_checkpoint_id", "sovits_checkpoint_id")}
    created = client.post("/api/v1/voices", json={"name": "Ben", "prompts": [prompt], **weights})
    assert created.status_code == 201, created.text
    return str(created.json()["id"])


def finished(client: httpx.Client, **body: Any) -> dict[str, Any]:
    response = client.post("/api/v1/inference", json={**REQUEST, **body})
    assert response.status_code == 202, response.text
    for kind, data in read_events(client, f"/api/v1/inference/{response.json()['id']}/progress", silence=60):
        assert kind != "failed", data
    view: dict[str, Any] = client.get(f"/api/v1/inference/{response.json()['id']}").json()
    return view


def events_of(client: httpx.Client, text: str, **fields: Any) -> list[dict[str, Any]]:
    body = {**REQUEST, "input": text, "response_format": "pcm", "stream_format": "sse", **fields}
    response = client.post("/v1/audio/speech", json=body)
    assert response.status_code == 200, response.text
    lines = [line.removeprefix("data:") for line in response.text.splitlines() if line.startswith("data:")]
    return [orjson.loads(line) for line in lines]


@pytest.mark.parametrize("text", [DIALOGUE, '<speak>Good morning, how are you? <voice name="Ben/calm">I am fine, thank '
    'you.</voice> That is good to hear.</speak>'])  # fmt: skip
def test_each_utterance_has_its_voice(client: httpx.Client, ben: str, text: str) -> None:
    view = finished(client, text=text, timestamps="word")
    allison = client.get("/api/v1/voices/allison").json()["id"]
    utterances = view["result"]["utterances"]

    assert [utterance["voice_id"] for utterance in utterances] == [allison, ben, allison]
    assert all(utterance["text"].endswith(end) for utterance, end in zip(utterances, ENDS, strict=True))
    records = client.get(f"/api/v1/provenance/{view['id']}").json()["items"]
    assert {record["voice_id"] for record in records} == {allison, ben}


def test_a_stream_changes_its_voice_and_is_recorded_for_both(client: httpx.Client, ben: str) -> None:
    events = events_of(client, DIALOGUE, timestamps="word")
    words = [word for event in events for word in event.get("words", ())]
    allison = client.get("/api/v1/voices/allison").json()["id"]

    assert " ".join(word["text"] for word in words) == (
        "Good morning, how are you? I am fine, thank you. That is good to hear."
    )
    assert [word["voice_id"] for word in words] == [allison] * 5 + [ben] * 5 + [allison] * 5
    speakers = [event["voice_id"] for event in events if event.get("audio")]
    assert [speaker for speaker, _ in itertools.groupby(speakers)] == [allison, ben, allison]


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("Hi. [voice:Nobody] Hello.", 404, "voice_not_found"),
        ('<speak>Hi. <voice name="Nobody">Hello.</voice></speak>', 404, "voice_not_found"),
        ("Hi. [voice:Ben/angry] Hello.", 404, "not_found"),
        ("Hi. [voice:] Hello.", 400, "bad_markup"),
        ("Hi. " * 400 + "[voice:Nobody] Hello.", 404, "voice_not_found"),
    ],
)
def test_a_voice_that_is_not_there_is_an_error_before_anything_is_queued(
    client: httpx.Client, ben: str, text: str, status: int, code: str
) -> None:
    before = client.get("/api/v1/inference").json()["total"]
    response = client.post("/api/v1/inference", json={**REQUEST, "text": text})

    assert response.status_code == status, response.text
    assert response.json()["error"]["code"] == code
    assert client.post("/v1/audio/speech", json={**REQUEST, "input": text[:4000]}).status_code == status
    assert client.get("/api/v1/inference").json()["total"] == before


def test_brackets_are_text_where_nothing_is_markup(client: httpx.Client) -> None:
    assert len(finished(client, text="[voice:Nobody] Hello.", input_type="text")["result"]["utterances"]) == 1


def test_a_dialogue_is_typed_into_the_web_socket(daemon: Daemon, client: httpx.Client, ben: str) -> None:
    spoken: list[str] = []
    with connect(daemon.url.replace("http", "ws") + "/v1/audio/speech/stream") as socket:
        socket.send(orjson.dumps({"type": "session.update", **REQUEST, "audio": "base64"}).decode())
        for piece in ("Good morning, how are you? [voi", "ce:Ben] I am fine. ", "Thank you. [voice:Nobody] Hello. "):
            socket.send(orjson.dumps({"type": "text.append", "text": piece}).decode())
        socket.send(orjson.dumps({"type": "text.done"}).decode())
        while (event := orjson.loads(socket.recv(60)))["type"] not in ("turn.done", "error"):
            if event["type"] == "words":
                spoken.append(event["text"])
                assert all(word["voice_id"] == event["voice_id"] for word in event["words"])

    assert event["type"] == "error"
    assert event["error"]["code"] == "voice_not_found"
    assert "voice" not in "".join(spoken)


def test_marks_come_with_their_times_in_events_and_results(client: httpx.Client) -> None:
    text = (
        '<speak><mark name="start"/>One two <mark name="three"/>three. <break time="1s"/><mark name="four"/>Four five.'
        '<break time="500ms"/><mark name="end"/></speak>'
    )
    result = finished(client, text=text, timestamps="word")["result"]
    words = {word["text"]: word for utterance in result["utterances"] for word in utterance["words"]}
    marks = {mark["name"]: mark["time"] for utterance in result["utterances"] for mark in utterance["marks"]}
    events = events_of(client, text, timestamps="word")
    streamed = {mark["name"]: mark["time"] for event in events for mark in event.get("marks", ())}
    streamed_words = {word["text"]: word for event in events for word in event.get("words", ())}
    subtitles = client.get(result["subtitles_url"], params={"format": "json"}).json()

    assert list(marks) == ["start", "three", "four", "end"]
    assert marks["start"] == words["One"]["start"]
    assert marks["three"] == words["three."]["start"]
    assert marks["four"] == words["Four"]["start"]
    assert marks["end"] == pytest.approx(words["five."]["end"] + 0.5, abs=0.01)
    assert list(streamed) == list(marks)
    assert [streamed["three"], streamed["four"]] == [streamed_words["three."]["start"], streamed_words["Four"]["start"]]
    assert streamed["end"] == pytest.approx(streamed_words["five."]["end"] + 0.5, abs=0.01)
    assert [mark["name"] for mark in subtitles["marks"]] == list(marks)


def spoken(client: httpx.Client, text: str) -> tuple[np.ndarray, int]:
    body = {**REQUEST, "input": text, "response_format": "wav"}
    samples, rate = soundfile.read(io.BytesIO(client.post("/v1/audio/speech", json=body).content))
    return samples, rate


def test_the_volume_is_an_exact_gain(client: httpx.Client) -> None:
    daemon_marks = events_of(client, "One two three.")
    plain, quiet = (
        np.frombuffer(b"".join(base64.b64decode(event.get("audio", "")) for event in events), "<i2").astype(float)
        for events in (
            daemon_marks,
            events_of(client, '<speak><prosody volume="-6.0206dB">One two three.</prosody></speak>'),
        )
    )

    assert len(plain) == len(quiet)
    assert np.sqrt(np.square(quiet).mean() / np.square(plain).mean()) == pytest.approx(0.5, abs=0.003)


@pytest.mark.parametrize("semitones", [4, -4])
def test_the_pitch_moves_and_the_words_stay_where_they_are(client: httpx.Client, semitones: int) -> None:
    sentence = "The number that you have dialed is not in service."
    plain, rate = spoken(client, sentence)
    moved, _ = spoken(client, f'<speak><prosody pitch="{semitones:+d}st">{sentence}</prosody></speak>')

    def median_pitch(samples: np.ndarray) -> float:
        frames = pitch(samples.astype(np.float32), rate, rate // 100)
        return float(np.median(frames[frames > 0]))

    assert len(moved) / len(plain) == pytest.approx(1.0, abs=0.12)
    assert 12 * np.log2(median_pitch(moved) / median_pitch(plain)) == pytest.approx(semitones, abs=0.7)
