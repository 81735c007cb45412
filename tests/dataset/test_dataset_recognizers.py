"""Which library reads a folder with a recognizer, and what SenseVoice hears."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mini_sense_voice import write_mini_sense_voice

from common.recognizers import best_mandarin_recognizer, recognizer_kind
from GPT_SoVITS.audio import write_wav
from GPT_SoVITS.dataset.recognizers import load_recognizer
from GPT_SoVITS.errors import ModelError

pytest.importorskip("sherpa_onnx")
RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mini_sense_voice(tmp_path_factory.mktemp("models") / "sensevoice")


def test_a_recording_is_heard_stretch_by_stretch(folder, voice, voice_file):
    recognizer = load_recognizer(folder)
    silence = np.zeros(2 * RATE, np.float32)

    once = recognizer.transcribe(voice_file, "zh")
    twice = recognizer.transcribe(np.concatenate([voice, silence, voice]))

    assert set(once.text) == {"好"}
    assert once.seconds == pytest.approx(len(voice) / RATE)
    assert len(twice.phrases) == 2 * len(once.phrases)
    assert twice.text == once.text * 2  # Mandarin has no spaces between phrases
    assert (twice.language, twice.confidence) == ("zh", 1.0)
    assert twice.phrases[-1].start > len(voice) / RATE + 1.5


def test_silence_is_nothing(folder):
    transcription = load_recognizer(folder).transcribe(np.zeros(3 * RATE, np.float32), "zh")

    assert (transcription.text, transcription.confidence, transcription.phrases) == ("", 0.0, ())


def test_a_language_that_it_does_not_hear_is_rejected_with_those_that_it_does(folder):
    with pytest.raises(ModelError, match="does not hear 'fr'") as error:
        load_recognizer(folder).transcribe(np.zeros(RATE, np.float32), "fr")

    assert error.value.code == "unsupported_language"
    assert "zh, en, ja, ko, yue" in error.value.hint


def test_what_lies_in_a_folder_decides_what_reads_it(tmp_path):
    kinds = {
        "whisper": {"model.bin": ""},
        "sensevoice": {"model.onnx": "", "tokens.txt": "<blank> 0\n<|zh|> 1\n"},
        "paraformer": {"model.int8.onnx": "", "tokens.txt": "<blank> 0\n好 1\n"},
        "unfinished": {"model.onnx": ""},
        "empty": {},
    }
    for name, files in kinds.items():
        for file, content in files.items():
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / file).write_text(content, encoding="utf-8")

    by_folder = {name: recognizer_kind(tmp_path / name) for name in kinds}

    assert by_folder == {
        "whisper": "whisper",
        "sensevoice": "sensevoice",
        "paraformer": "paraformer",
        "unfinished": None,
        "empty": None,
    }
    with pytest.raises(ModelError) as error:
        load_recognizer(tmp_path / "empty")
    assert error.value.code == "missing_part"


def test_the_best_recognizer_of_mandarin_is_made_for_it_and_then_the_largest(tmp_path, folder):
    for name, size in (("small", 10), ("large", 1000), ("large.en", 5000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").write_bytes(bytes(size))

    largest = best_mandarin_recognizer(tmp_path)
    (tmp_path / "sensevoice").symlink_to(folder)

    assert largest == tmp_path / "large"
    assert best_mandarin_recognizer(tmp_path) == tmp_path / "sensevoice"
    assert best_mandarin_recognizer(tmp_path / "nothing") is None


def test_long_speech_is_heard_in_pieces(folder, voice, tmp_path):
    recording = tmp_path / "long.wav"
    write_wav(recording, np.tile(voice, 1 + 70 * RATE // len(voice)), RATE)

    transcription = load_recognizer(folder).transcribe(recording, "zh")

    assert max(phrase.end - phrase.start for phrase in transcription.phrases) <= 30.0
    assert transcription.phrases[-1].end > 69
