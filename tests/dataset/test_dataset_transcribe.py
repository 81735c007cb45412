"""What is said in recordings, and where."""

from __future__ import annotations

import numpy as np
import pytest

from GPT_SoVITS.dataset.transcribe import Transcriber, speech_spans
from GPT_SoVITS.dataset.word_errors import error_rate
from GPT_SoVITS.features.whisper_model import model_folder

RATE = 16_000
TEXT = "The number you have dialed is not in service. Please check the number and try again."


def hiss(seconds: float, amplitude: float = 0.05) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(round(seconds * RATE)) * amplitude).astype(np.float32)


@pytest.fixture(scope="module")
def transcriber(models) -> Transcriber:
    return Transcriber(model_folder(models))


@pytest.mark.slow
def test_speech_is_written_down(transcriber, voice_file, voice):
    transcript = transcriber.transcribe(voice_file)

    assert transcript.language == "en"
    assert error_rate(TEXT, transcript.text, "en") < 0.15
    assert transcript.seconds == pytest.approx(len(voice) / RATE)
    assert 0.4 < transcript.confidence <= 1.0
    assert transcript.phrases[0].end <= transcript.seconds + 0.5


def test_where_nobody_speaks_no_words_are_made_up(transcriber):
    for samples in (np.zeros(5 * RATE, np.float32), hiss(5), hiss(0.1), np.zeros(0, np.float32)):
        transcript = transcriber.transcribe(samples, "en")

        assert (transcript.text, transcript.confidence, transcript.phrases) == ("", 0.0, ())


def test_speech_is_found_between_silences(voice):
    samples = np.concatenate([np.zeros(2 * RATE, np.float32), voice, np.zeros(2 * RATE, np.float32)])

    spans = speech_spans(samples)

    assert spans[0][0] == pytest.approx(2.0, abs=0.3)
    assert spans[-1][1] == pytest.approx(2.0 + len(voice) / RATE, abs=0.5)
