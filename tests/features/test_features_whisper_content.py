"""Content features of Whisper."""

from __future__ import annotations

import numpy as np
import pytest

from GPT_SoVITS.dataset.transcribe import Transcriber
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.whisper_content import ContentEncoder
from GPT_SoVITS.features.whisper_model import model_folder

RATE = 16_000


@pytest.fixture(scope="module")
def content(models) -> ContentEncoder:
    return ContentEncoder(model_folder(models))


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


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
