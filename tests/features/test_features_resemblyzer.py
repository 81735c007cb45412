"""Speaker embeddings of Resemblyzer."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features import resemblyzer as speaker
from GPT_SoVITS.features.resemblyzer import SpeakerEncoder, drop_silences, partial_starts, similarity

RATE = 16_000


def hiss(seconds: float, amplitude: float = 0.05) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(round(seconds * RATE)) * amplitude).astype(np.float32)


@pytest.fixture(scope="module")
def speakers() -> SpeakerEncoder:
    return SpeakerEncoder.load()


def test_one_speaker_resembles_herself_more_than_somebody_else(speakers, voice):
    first, second = speakers.embed(voice[: len(voice) // 2]), speakers.embed(voice[len(voice) // 2 :])
    lowered = speakers.embed(np.interp(np.arange(0, len(voice), 0.75), np.arange(len(voice)), voice))

    assert first.shape == (256,)
    assert np.linalg.norm(first) == pytest.approx(1.0)
    assert similarity(first, first) == pytest.approx(1.0)
    assert similarity(first, second) > 0.8
    assert similarity(first, lowered) < similarity(first, second) - 0.15


def test_the_mel_front_end_is_librosa_s(speakers, voice):
    librosa = pytest.importorskip("librosa")

    mel = speakers.mel(voice).numpy()

    expected = librosa.feature.melspectrogram(y=voice, sr=RATE, n_fft=400, hop_length=160, n_mels=40).T
    np.testing.assert_allclose(mel, expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_pauses_do_not_count_for_who_speaks(speakers, voice):
    gaps = np.concatenate([np.zeros(RATE, np.float32), voice, np.zeros(3 * RATE, np.float32)])

    assert len(drop_silences(gaps)) == pytest.approx(len(drop_silences(voice)), abs=RATE // 2)
    assert similarity(speakers.embed(gaps), speakers.embed(voice)) > 0.97


@pytest.mark.parametrize("samples", [1, 100, 25_599, 25_600, 40_000, 160_000])
def test_partials_cover_the_recording(samples):
    starts = partial_starts(samples)

    assert starts[0] == 0
    assert (starts[-1] + 160) * 160 >= samples - 0.25 * 25_600 - 123 * 160


def test_silence_has_no_speaker(speakers):
    with pytest.raises(ModelError, match="Nothing is audible"):
        speakers.embed(np.zeros(RATE, np.float32))


def test_missing_speaker_weights_say_how_to_install_them(monkeypatch):
    monkeypatch.setattr(speaker.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ModelError) as caught:
        SpeakerEncoder.load()

    assert caught.value.code == "missing_part"
    assert "pip install" in caught.value.hint


def test_resemblyzer_itself_is_not_imported(speakers):
    assert "resemblyzer" not in sys.modules
