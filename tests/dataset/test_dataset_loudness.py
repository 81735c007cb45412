"""The loudness of training recordings."""

from __future__ import annotations

import numpy as np
import pytest

from GPT_SoVITS.dataset.loudness import content_audio, mix_loudness, training_audio
from GPT_SoVITS.errors import ModelError

RATE = 16_000


def tone(seconds: float, amplitude: float = 0.3, rate: int = RATE) -> np.ndarray:
    return (np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate) * amplitude).astype(np.float32)


def test_a_segment_louder_than_full_scale_is_clipped_not_wrapped():
    samples = tone(0.1, amplitude=3.0)

    mixed = mix_loudness(samples, 0.9, 0.25)

    assert np.all(np.sign(mixed[np.abs(samples) > 0.1]) == np.sign(samples[np.abs(samples) > 0.1]))


def test_training_audio_with_a_peak_above_one_is_clipped_not_wrapped():
    samples = tone(0.1, amplitude=2.0, rate=32_000)

    pcm = training_audio(samples)

    assert pcm.max() == 32767
    assert np.all(np.sign(pcm[np.abs(samples) > 0.01]) == np.sign(samples[np.abs(samples) > 0.01]))


@pytest.mark.parametrize("prepare", [training_audio, content_audio])
@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (np.zeros(100, np.float32), "silent"),
        (np.full(100, 2.5, np.float32), "2.2"),
        (np.full(100, np.nan, np.float32), "2.2"),
    ],
    ids=["silent", "broken", "nan"],
)
def test_sound_that_nothing_can_be_learned_from_is_refused(prepare, samples, says):
    with pytest.raises(ModelError, match=says):
        prepare(samples)
