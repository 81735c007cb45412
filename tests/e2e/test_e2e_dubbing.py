"""Subtitles that a real daemon speaks: every cue at its time, faster where it would not fit, the rest reported."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from server_sent_events import read_events

from scripts.demo_daemon import Daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
URL = "/api/v1/inference/subtitles"
LONG = "The number that you have dialed is not in service, so please check it and then dial again."
SRT = f"""1
00:00:01,000 --> 00:00:03,500
Hello <i>there</i>.

2
00:00:05,000 --> 00:00:08,700
{LONG}

3
00:00:10,000 --> 00:00:10,500
{LONG}

4
00:00:11,000 --> 00:00:13,000
♪ ♪

5
00:00:11,500 --> 00:00:20,000
Thank you.
"""
REQUEST: dict[str, Any] = {"voice": "allison", "seed": 3, "verify": "off"}


def finished(client: httpx.Client, **body: Any) -> dict[str, Any]:
    response = client.post(URL, json={**REQUEST, **body})
    assert response.status_code == 202, response.text
    url = f"{URL}/{response.json()['id']}"
    shares = [
        data["progress"] for kind, data in read_events(client, f"{url}/progress", silence=90) if kind == "progress"
    ]
    view: dict[str, Any] = client.get(url).json()
    assert view["status"] == "completed", view
    assert shares
    assert shares == sorted(shares)
    return view


def audio_of(client: httpx.Client, view: dict[str, Any]) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(io.BytesIO(client.get(view["result"]["download_url"]).content))
    return samples, rate


def test_cues_are_spoken_at_their_times_and_fitted(client: httpx.Client) -> None:
    view = finished(client, subtitles=SRT, max_speed=1.6)
    samples, rate = audio_of(client, view)
    hello, fitted, long, thanks = view["result"]["cues"]
    loud = np.abs(samples) > 0.02

    assert view["cues"] == 4
    assert len(samples) / rate == pytest.approx(20.0, abs=0.01)
    assert not loud[: round(0.99 * rate)].any()
    assert loud[round(1.0 * rate) : round(1.3 * rate)].any()
    assert hello["fits"]
    assert hello["speed"] == 1
    assert hello["spoken_start"] == 1.0
    assert fitted["fits"], fitted
    assert 1 < fitted["speed"] <= 1.6
    assert fitted["spoken_end"] <= 8.75
    assert not loud[round(9.0 * rate) : round(9.99 * rate)].any()
    assert not long["fits"]
    assert long["speed"] == 1.6
    assert long["spoken_end"] > 11.5
    assert thanks["spoken_start"] == pytest.approx(long["spoken_end"], abs=0.001)  # no word is lost
    assert not thanks["fits"]
    assert view["result"]["fits"] == 2


def test_short_words_are_stretched_where_that_is_asked_for(client: httpx.Client) -> None:
    text = "00:00 --> 00:03\nThank you very much.\n"
    slow = finished(client, subtitles=text, min_speed=0.7)["result"]["cues"][0]
    usual = finished(client, subtitles=text)["result"]["cues"][0]

    assert usual["speed"] == 1
    assert 0.7 <= slow["speed"] < 1
    assert slow["spoken_end"] > usual["spoken_end"] + 0.1


def test_overlapping_cues_are_mixed_and_speakers_have_their_voices(client: httpx.Client) -> None:
    first_cue = "00:00.000 --> 00:04.000\n<v Anna>Good morning, everybody."
    text = f"WEBVTT\n\n{first_cue}\n\n00:00.500 --> 00:05.000\nBen: Thank you."
    view = finished(client, subtitles=text, voice="", voices={"anna": "allison", "Ben": "Allison"}, format="flac")
    first, second = view["result"]["cues"]
    samples, rate = audio_of(client, view)

    assert [first["text"], second["text"]] == ["Good morning, everybody.", "Thank you."]
    assert second["spoken_start"] == 0.5
    assert second["spoken_start"] < first["spoken_end"]
    assert len(samples) / rate == pytest.approx(5.0, abs=0.01)


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({}, 422, "subtitles"),
        ({"subtitles": ""}, 400, "The subtitles have no cue"),
        ({"subtitles": "Hello."}, 400, "The subtitles have no cue"),
        ({"subtitles": "00:01 --> \nHello."}, 400, "The line 1 has no times"),
        ({"subtitles": "00:00 --> 00:01\n♪"}, 400, "hold nothing to say"),
        ({"subtitles": "00:00 --> 00:01\nHi.", "voice": "nobody"}, 404, "no voice named 'nobody'"),
        (
            {"subtitles": "00:00 --> 00:01\nBen: Hi.", "voice": "", "voices": {"Anna": "allison"}},
            400,
            "who has no voice",
        ),
        ({"subtitles": "00:00 --> 00:01\nHi.", "min_speed": 2, "max_speed": 1}, 422, "min_speed is 2"),
        ({"subtitles": "00:00 --> 00:01\n안녕", "strict_language": True}, 400, "The cue at line 1: The text is in ko"),
        ({"subtitles": "00:01 --> 00:02\na\n\n" * 100_000}, 400, "have 100,000 cues"),
    ],
)
def test_what_cannot_be_spoken_is_one_clear_error(
    client: httpx.Client, body: dict[str, Any], status: int, part: str
) -> None:
    before = client.get(URL).json()["total"]
    response = client.post(URL, json={**REQUEST, **body})

    assert response.status_code == status, response.text
    assert part in response.json()["error"]["message"]
    assert client.get(URL).json()["total"] == before


def test_a_cancelled_dubbing_stops_and_has_no_file(client: httpx.Client) -> None:
    text = "\n\n".join(f"00:{number // 60:02}:{number % 60:02} --> 01:30:00\n{LONG}" for number in range(60))
    created = client.post(URL, json={**REQUEST, "subtitles": text}).json()
    cancelled = client.delete(f"{URL}/{created['id']}").json()
    waiting = client.get("/api/v1/jobs", params={"status": "waiting", "limit": 500}).json()["items"]

    assert cancelled["status"] == "cancelled"
    assert client.get(f"{URL}/{created['id']}/audio").status_code == 409
    assert not [job for job in waiting if job["id"].startswith(created["id"])]
    assert client.get(f"{URL}/dub-nothing").status_code == 404


def test_the_command_line_speaks_subtitles_and_names_what_does_not_fit(daemon: Daemon, tmp_path: Path) -> None:
    source, output = tmp_path / "a.srt", tmp_path / "a.wav"
    source.write_text(f"00:00 --> 00:02\nAnna: Hello.\n\n00:03 --> 00:04\n{LONG}\n", encoding="utf-8-sig")
    command = [sys.executable, "main.py", "dub", str(source), "--voice", "allison", "--speaker", "Anna=allison"]
    environment = os.environ | {"DATA_PATH": str(daemon.data)}
    run = subprocess.run(
        [*command, "--output", str(output)],
        check=False,
        cwd=ROOT,
        timeout=120,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert run.returncode == 1, run.stderr
    assert "1 of 2 cues fit" in run.stdout
    assert "3.00-4.00 s is spoken until" in run.stdout
    assert soundfile.info(str(output)).duration > 4
