"""Finished files: Content Credentials that a changed byte breaks, and the notice that is heard first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.marks.audible_notice import UNIT_SECONDS
from core.marks.content_credentials import is_available
from core.marks.found_labels import read_labels
from core.marks.speech_marks import SpeechMarks
from core.media.encode import read_wav, wav_file
from core.settings import Settings, read_settings

RATE = 16_000
SPEECH = (2000 * np.sin(np.arange(2 * RATE) / 9)).astype("<i2")

signs = pytest.mark.skipif(not is_available(), reason="c2pa-python is not installed")


def settings_of(folder: Path, **values: str) -> Settings:
    folder.mkdir()
    return read_settings(data_path=folder, **values)


def signed(marks: SpeechMarks, path: Path) -> Path:
    label = marks.label("speech-1")
    assert label is not None
    path.write_bytes(marks.finish(wav_file(SPEECH.tobytes(), RATE, label.tags), "wav", label))
    return path


@signs
def test_a_changed_byte_of_the_audio_breaks_the_signature(tmp_path: Path) -> None:
    marks = SpeechMarks(settings_of(tmp_path / "data"))
    path = signed(marks, tmp_path / "speech.wav")

    intact = read_labels(path, marks.credentials.certificates).credentials
    content = bytearray(path.read_bytes())
    content[44 + 2 * RATE] ^= 1  # one sample in the middle
    path.write_bytes(content)
    changed = read_labels(path, marks.credentials.certificates).credentials

    assert intact is not None
    assert (intact.state, intact.synthetic, intact.problems) == ("own", True, ())
    assert intact.label is not None
    assert intact.label.ProduceID == "speech-1"
    assert changed is not None
    assert changed.state == "invalid"
    assert changed.problems == ("assertion.dataHash.mismatch",)


@signs
def test_what_another_installation_signed_is_valid_and_not_its_own(tmp_path: Path) -> None:
    ours, theirs = SpeechMarks(settings_of(tmp_path / "ours")), SpeechMarks(settings_of(tmp_path / "theirs"))
    signed(ours, tmp_path / "ours.wav")

    labels = read_labels(signed(theirs, tmp_path / "theirs.wav"), ours.credentials.certificates)

    assert labels.credentials is not None
    assert labels.credentials.state == "valid"
    assert labels.label is not None
    assert not ours.is_own(labels.label)
    assert theirs.is_own(labels.label)


def test_the_audible_notice_is_short_long_short_short_before_the_speech(tmp_path: Path) -> None:
    marks = SpeechMarks(
        settings_of(tmp_path / "data", mark_audible="rhythm", mark_watermark="off", mark_metadata="off")
    )
    path = tmp_path / "speech.wav"
    path.write_bytes(wav_file(SPEECH.tobytes(), RATE))

    marks.mark_wav(path, "speech-1", "Hello.")

    samples, rate = read_wav(path)
    unit = round(UNIT_SECONDS * rate)
    notice, speech = samples[: -len(SPEECH)], samples[-len(SPEECH) :]
    units = np.abs(notice.reshape(-1, unit).astype(int)).max(axis=1) > 1000
    assert "".join("x" if loud else "." for loud in units) == "x.xxx...x.x....."
    assert np.array_equal(speech, SPEECH)


def test_without_a_notice_the_speech_comes_first(tmp_path: Path) -> None:
    marks = SpeechMarks(settings_of(tmp_path / "data", mark_audible="off", mark_watermark="off"))
    path = tmp_path / "speech.wav"
    path.write_bytes(wav_file(SPEECH.tobytes(), RATE))

    marks.mark_wav(path, "speech-1", "Hello.")

    assert np.array_equal(read_wav(path)[0], SPEECH)
