"""Reading, writing, resampling and levels."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from GPT_SoVITS.audio import frame_rms, loudness, peak, read_mono, resample, to_int16, write_wav
from GPT_SoVITS.errors import ModelError

RATE = 16_000


def tone(seconds: float, amplitude: float = 0.3, rate: int = RATE) -> np.ndarray:
    return (np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate) * amplitude).astype(np.float32)


def test_a_written_wav_is_read_back_within_half_a_step(tmp_path):
    samples = tone(0.2)

    write_wav(tmp_path / "a.wav", samples, RATE)
    read_back, rate = read_mono(tmp_path / "a.wav")

    assert rate == RATE
    assert np.abs(read_back - samples).max() < 1 / 32767
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(0.1), -0.5 * tone(0.1)], axis=1), RATE, subtype="FLOAT")

    mono, _ = read_mono(tmp_path / "a.wav")

    np.testing.assert_allclose(mono, 0.25 * tone(0.1), atol=1e-6)


def test_what_is_no_sound_is_named(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"hello")

    with pytest.raises(ModelError, match=r"a\.wav cannot be read") as caught:
        read_mono(tmp_path / "a.wav")

    assert caught.value.code == "bad_audio"


def test_full_scale_never_wraps_round():
    assert to_int16(np.array([1.0, 1.5, -1.0, -3.0], np.float32)).tolist() == [32767, 32767, -32767, -32768]


@pytest.mark.parametrize(("rate", "to_rate"), [(44_100, 16_000), (16_000, 32_000), (48_000, 16_000), (32_000, 32_000)])
def test_resampling_keeps_the_tone_and_rounds_the_length_up(rate, to_rate):
    samples = tone(0.5, rate=rate)[:-7]

    resampled = resample(samples, rate, to_rate)

    assert len(resampled) == -(-len(samples) * to_rate // rate)
    expected = tone(0.5, rate=to_rate)[: len(resampled)]
    assert np.abs(resampled - expected)[200:-200].max() < 2e-3


def test_loudness_is_in_decibels_of_full_scale():
    assert loudness(tone(1.0, amplitude=1.0)) == pytest.approx(-3.01, abs=0.01)
    assert loudness(np.zeros(10, np.float32)) == float("-inf")
    assert peak(np.zeros(0, np.float32)) == 0.0


def test_running_rms_equals_the_rms_of_each_frame():
    samples = np.random.default_rng(0).standard_normal(5003).astype(np.float32)

    rms = frame_rms(samples, 80, 320)

    padded = np.pad(samples.astype(np.float64), 160)
    expected = [np.sqrt(np.square(padded[start : start + 320]).mean()) for start in range(0, len(padded) - 319, 80)]
    np.testing.assert_allclose(rms, expected, rtol=1e-9)
