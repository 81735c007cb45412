"""Reading, writing and resampling; slicing what has no pauses; the loudness of training sound."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from GPT_SoVITS.audio import frame_rms, loudness, peak, read_mono, resample, to_int16, write_wav
from GPT_SoVITS.dataset.loudness import content_audio, mix_loudness, training_audio
from GPT_SoVITS.dataset.slicer import AudioSlice, Slicer, SliceSettings, split_long, write_segments
from GPT_SoVITS.errors import ModelError

RATE = 16_000
WEB = {"threshold": -34, "min_length": 4000, "min_interval": 300, "hop_size": 10, "max_sil_kept": 500}


def tone(seconds: float, amplitude: float = 0.3, rate: int = RATE) -> np.ndarray:
    return (np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate) * amplitude).astype(np.float32)


def test_a_written_wav_is_read_back_within_half_a_step(tmp_path):
    samples = tone(0.2)

    write_wav(tmp_path / "a.wav", samples, RATE)
    found, rate = read_mono(tmp_path / "a.wav")

    assert rate == RATE
    assert np.abs(found - samples).max() < 1 / 32767
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(0.1), -0.5 * tone(0.1)], axis=1), RATE, subtype="FLOAT")

    found, _ = read_mono(tmp_path / "a.wav")

    np.testing.assert_allclose(found, 0.25 * tone(0.1), atol=1e-6)


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

    found = resample(samples, rate, to_rate)

    assert len(found) == -(-len(samples) * to_rate // rate)
    expected = tone(0.5, rate=to_rate)[: len(found)]
    assert np.abs(found - expected)[200:-200].max() < 2e-3


def test_loudness_is_in_decibels_of_full_scale():
    assert loudness(tone(1.0, amplitude=1.0)) == pytest.approx(-3.01, abs=0.01)
    assert loudness(np.zeros(10, np.float32)) == float("-inf")
    assert peak(np.zeros(0, np.float32)) == 0.0


def test_running_rms_equals_the_rms_of_each_frame():
    samples = np.random.default_rng(0).standard_normal(5003).astype(np.float32)

    found = frame_rms(samples, 80, 320)

    padded = np.pad(samples.astype(np.float64), 160)
    expected = [np.sqrt(np.square(padded[start : start + 320]).mean()) for start in range(0, len(padded) - 319, 80)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_an_hour_s_worth_without_a_pause_is_cut_where_it_is_quietest():
    samples = tone(40.0)
    for second in (9.0, 18.5, 29.0):  # 60 ms dips, too short and too loud to be silences
        samples[round(second * RATE) :][: round(0.06 * RATE)] *= 0.3
    slicer = Slicer(RATE, SliceSettings.from_parameters(WEB))

    chunks = slicer.slice(samples)

    assert all(len(chunk.samples) <= 12 * RATE for chunk in chunks)
    assert [chunk.start / RATE for chunk in chunks[1:]] == pytest.approx([9.03, 18.53, 29.03], abs=0.05)
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in chunks]), samples)


@pytest.mark.parametrize("seconds", [12.0, 12.01, 13.0, 14.5, 24.1, 61.7])
def test_pieces_of_a_long_clip_are_neither_too_long_nor_scraps(seconds):
    samples = np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32)

    parts = split_long(AudioSlice(samples, 500, 500 + len(samples)), RATE, 12.0)

    assert sum(len(part.samples) for part in parts) == len(samples)
    assert all(2.0 * RATE - RATE // 100 <= len(part.samples) <= 12.0 * RATE for part in parts)
    assert [part.end for part in parts[:-1]] == [part.start for part in parts[1:]]
    assert (parts[0].start, parts[-1].end) == (500, 500 + len(samples))


def test_lengths_that_contradict_one_another_are_refused():
    with pytest.raises(ValueError, match="min_length >= min_interval"):
        SliceSettings(min_length=100, min_interval=300)
    with pytest.raises(ValueError, match="max_sil_kept >= hop_size"):
        SliceSettings(hop_size=300, max_sil_kept=100)


def test_segments_are_named_after_their_place_and_scraps_are_left_out(tmp_path):
    chunks = [
        AudioSlice(tone(1.0), 0, RATE),
        AudioSlice(tone(0.2), RATE, RATE + 3200),
        AudioSlice(np.zeros(RATE, np.float32), 32_000, 48_000),
        AudioSlice(np.zeros(0, np.float32), 48_000, 48_000),
    ]

    written, left_out = write_segments(chunks, tmp_path, RATE, name="talk.wav")

    assert written == ["talk.wav_0000000000_0000016000.wav"]
    assert [path.name for path in tmp_path.iterdir()] == written
    assert [entry["reason"] for entry in left_out] == ["0.20 s are too short", "it is silent", "0.00 s are too short"]


def test_a_segment_louder_than_full_scale_is_clipped_not_wrapped():
    samples = tone(0.1, amplitude=3.0)

    made = mix_loudness(samples, 0.9, 0.25)

    assert np.all(np.sign(made[np.abs(samples) > 0.1]) == np.sign(samples[np.abs(samples) > 0.1]))


def test_training_audio_with_a_peak_above_one_is_clipped_not_wrapped():
    samples = tone(0.1, amplitude=2.0, rate=32_000)

    made = training_audio(samples)

    assert made.max() == 32767
    assert np.all(np.sign(made[np.abs(samples) > 0.01]) == np.sign(samples[np.abs(samples) > 0.01]))


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
def test_sound_that_nothing_can_be_learnt_from_is_refused(prepare, samples, says):
    with pytest.raises(ModelError, match=says):
        prepare(samples)
