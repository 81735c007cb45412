"""The loudness of speech from a real daemon with the bundled voice, by every route that has one."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pyloudnorm
import pytest
import soundfile
from server_sent_events import read_events
from websockets.sync.client import connect

from core.media.peak_limiter import true_peak_db
from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
TEXT = "The number that you have dialed is not in service. Please check it, and then dial again. Thank you very much."
REQUEST: dict[str, Any] = {"voice": "allison", "seed": 3, "verify": "off"}


def loudness(samples: np.ndarray, rate: int) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(samples))


def spoken(client: httpx.Client, **fields: Any) -> tuple[np.ndarray, int]:
    """Return the WAV of OpenAI's route."""
    response = client.post("/v1/audio/speech", json={**REQUEST, "input": TEXT, "response_format": "wav", **fields})
    assert response.status_code == 200, response.text
    samples, rate = soundfile.read(io.BytesIO(response.content))
    return samples, rate


@pytest.mark.parametrize("target", [-14, -30.5])
@pytest.mark.parametrize("streamed", [{}, {"stream_format": "audio"}])
def test_speech_comes_to_its_loudness(client: httpx.Client, target: float, streamed: dict[str, str]) -> None:
    samples, rate = spoken(client, loudness=target, **streamed)

    assert loudness(samples, rate) == pytest.approx(target, abs=1.0 if streamed else 0.5)
    assert true_peak_db(samples) <= -1.0


def test_a_loud_speech_is_limited_to_its_true_peak(client: httpx.Client) -> None:
    samples, rate = spoken(client, loudness=-9, true_peak=-6)
    unlimited, _ = spoken(client)
    turned_down = loudness(unlimited, rate) - 6.0 - true_peak_db(unlimited)  # as a whole, until no peak exceeds it

    assert true_peak_db(samples) <= -6.0
    assert max(-17, turned_down + 2) < loudness(samples, rate) <= -9


def test_speech_without_a_loudness_is_as_the_model_speaks(client: httpx.Client) -> None:
    samples, rate = spoken(client)

    assert np.array_equal(samples, spoken(client, loudness="off")[0])
    assert abs(loudness(samples, rate) - -14) > 1.5  # so that the tests above can fail


def test_silence_is_trimmed_and_words_are_where_they_are_heard(client: httpx.Client) -> None:
    body = {**REQUEST, "input": TEXT, "response_format": "pcm", "stream_format": "sse", "timestamps": "word"}
    starts: dict[bool, list[float]] = {}
    lengths: dict[bool, float] = {}
    for trim in (False, True):
        events = client.post("/v1/audio/speech", json={**body, "trim_silence": trim, "loudness": -20}).text
        words, seconds = [], 0.0
        for line in events.splitlines():
            event = orjson.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            if "audio" in event:
                seconds += len(base64.b64decode(event["audio"])) / 2 / 24_000
                words += event.get("words", [])
                assert all(word["end"] <= seconds + 0.001 for word in event.get("words", []))
        starts[trim], lengths[trim] = [word["start"] for word in words], seconds
    shifts = np.subtract(starts[False], starts[True])

    assert len(starts[True]) == len(TEXT.split())
    assert lengths[True] < lengths[False]
    assert shifts.max() - shifts.min() <= 0.002 or starts[True][0] == 0.0


def test_an_inference_has_the_loudness_of_its_voice_or_its_own(client: httpx.Client) -> None:
    assert client.patch("/api/v1/voices/allison", json={"loudness": -27}).json()["loudness"] == -27
    try:
        measured = []
        for fields in ({}, {"loudness": -18, "trim_silence": True}):
            new = client.post(
                "/api/v1/inference", json={**REQUEST, "text": TEXT, "timestamps": "word", **fields}
            ).json()
            for kind, data in read_events(client, f"/api/v1/inference/{new['id']}/progress", silence=60):
                assert kind != "failed", data
            view = client.get(f"/api/v1/inference/{new['id']}").json()
            samples, rate = soundfile.read(io.BytesIO(client.get(view["result"]["download_url"]).content))
            measured.append(loudness(samples, rate))
            last = view["result"]["utterances"][-1]
            assert view["result"]["seconds"] == pytest.approx(len(samples) / rate, abs=0.001)
            assert last["words"][-1]["end"] <= len(samples) / rate + 0.001
        assert measured == pytest.approx([-27, -18], abs=0.3)
        assert loudness(*spoken(client)) == pytest.approx(-27, abs=0.5)
        assert loudness(*spoken(client, loudness="off")) > -24
    finally:
        assert client.patch("/api/v1/voices/allison", json={"loudness": "off"}).json()["loudness"] is None


def test_a_turn_of_the_web_socket_has_a_loudness(daemon: Daemon) -> None:
    audio = b""
    with connect(daemon.url.replace("http", "ws") + "/v1/audio/speech/stream") as socket:
        socket.send(orjson.dumps({"type": "session.update", **REQUEST, "loudness": -26, "audio": "base64"}).decode())
        socket.send(orjson.dumps({"type": "text.append", "text": TEXT}).decode())
        socket.send(orjson.dumps({"type": "text.done"}).decode())
        while (event := orjson.loads(socket.recv(60)))["type"] != "turn.done":
            if event["type"] == "audio.delta":
                audio += base64.b64decode(event["audio"])
                rate = event["sample_rate"]

    assert loudness(np.frombuffer(audio, "<i2") / 32768, rate) == pytest.approx(-26, abs=1.0)


@pytest.mark.parametrize(
    "fields", [{"loudness": -41}, {"loudness": 0}, {"loudness": "loud"}, {"true_peak": 1}, {"trim_silence": "maybe"}]
)
def test_a_level_that_none_can_have_is_rejected_and_named(client: httpx.Client, fields: dict[str, Any]) -> None:
    response = client.post("/api/v1/inference", json={**REQUEST, "text": "Hi.", **fields})

    assert response.status_code == 422
    assert next(iter(fields)) in response.text


def test_the_command_line_speaks_at_a_loudness(daemon: Daemon, tmp_path: Path) -> None:
    output = tmp_path / "a.wav"
    command = [sys.executable, "main.py", "speak", TEXT, "--voice", "allison", "--loudness", "-28", "--trim-silence"]
    environment = os.environ | {"DATA_PATH": str(daemon.data)}
    subprocess.run([*command, "--output", str(output)], check=True, cwd=ROOT, timeout=120, env=environment)
    samples, rate = soundfile.read(output)

    assert loudness(samples, rate) == pytest.approx(-28, abs=0.5)
