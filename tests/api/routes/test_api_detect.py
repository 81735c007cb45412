"""Detection of marks over HTTP."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
import soundfile
from bundled_speech import RATE, piece

from core.marks.embed import WatermarkEmbedder
from core.marks.pattern import Pattern
from core.marks.speech_marks import KEY_FILE, SpeechMarks
from core.settings import Settings
from core.speech.requests import UtteranceRequest

FIRST = UtteranceRequest(parent="speech-1", index=0, text="Hello.", language="en", voice_id="v", seed=1)


def wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="wav", subtype="PCM_16")
    return file.getvalue()


def speech() -> np.ndarray:
    return (piece(10.0, 12.0) * 32767).astype(np.int16)


async def detect(client: httpx.AsyncClient, content: bytes) -> httpx.Response:
    return await client.post("/api/v1/detect", files={"file": ("recording.wav", content)})


async def test_the_mark_of_this_installation_is_found_with_its_id(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    marks = SpeechMarks(settings.model_copy(update={"mark_watermark": True}))
    marker = marks.begin(FIRST, FIRST.parent, RATE)

    answer = await detect(client, wav(np.frombuffer(marker.feed(speech().tobytes()), "<i2")))

    assert answer.status_code == 200
    assert answer.json()["synthetic"] is True
    assert answer.json()["layers"] == ["watermark"]
    assert answer.json()["watermark"]["mark_id"] == f"{marks.mark_id(FIRST):06x}"


async def test_a_recording_and_speech_of_another_installation_have_no_mark(client: httpx.AsyncClient) -> None:
    other = WatermarkEmbedder(Pattern(b"another installation"), 7, RATE).feed(speech().tobytes())
    for samples in (speech(), np.frombuffer(other, "<i2")):
        answer = (await detect(client, wav(samples))).json()

        assert answer["synthetic"] is False
        assert answer["watermark"]["mark_id"] is None


async def test_what_is_no_audio_is_rejected_with_the_reason(client: httpx.AsyncClient) -> None:
    answer = await detect(client, b"no audio at all" * 100)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_audio"


def test_a_mark_depends_on_the_content_the_seed_and_the_key(settings: Settings) -> None:
    marks = SpeechMarks(settings)

    assert marks.mark_id(FIRST) == SpeechMarks(settings).mark_id(FIRST)
    for change in ({"seed": 2}, {"text": "Goodbye."}, {"voice_id": "w"}):
        assert marks.mark_id(FIRST.model_copy(update=change)) != marks.mark_id(FIRST)
    assert (settings.data_path / KEY_FILE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("enabled", [True, False])
def test_speech_is_marked_unless_the_setting_says_no(settings: Settings, enabled: bool) -> None:
    marks = SpeechMarks(settings.model_copy(update={"mark_watermark": enabled}))

    assert (marks.begin(FIRST, FIRST.parent, RATE).mark_id is not None) is enabled
