"""Recordings are cut at their silences, and what has none where it is quietest."""

from __future__ import annotations

import numpy as np
import pytest

from GPT_SoVITS.dataset.slicer import AudioSlice, Slicer, SliceSettings, split_long, write_segments

RATE = 16_000
WEB = {"threshold": -34, "min_length": 4000, "min_interval": 300, "hop_size": 10, "max_sil_kept": 500}


def tone(seconds: float, amplitude: float = 0.3, rate: int = RATE) -> np.ndarray:
    return (np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate) * amplitude).astype(np.float32)


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
