"""Marks are found in what was marked, and nowhere else."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from core.marks.detect import (
    FALSE_ALARM_RATE,
    THRESHOLD,
    Detection,
    band_differences,
    detect_watermark,
    find_pattern,
)
from core.marks.embed import PEAK_RISE_DB, WatermarkEmbedder
from core.marks.pattern import BLOCK_SECONDS, MAX_PAYLOAD, Pattern, codeword, payload_of
from core.media.peak_limiter import PeakLimiter, true_peak_db
from core.settings import REPOSITORY

PATTERN = Pattern(b"a key")
PAYLOAD = 0xABCDE5
Samples = NDArray[np.int16]


@functools.cache
def recording(sample_rate: int = 16_000, seconds: float = 12.0) -> Samples:
    """Read the beginning of the bundled recording at a rate."""
    import soxr

    samples, own_rate = soundfile.read(REPOSITORY / "prompts" / "allison" / "recording.flac", dtype="int16")
    resampled: Samples = soxr.resample(samples[: round(own_rate * seconds)], own_rate, sample_rate)
    return resampled


def marked(samples: Samples, sample_rate: int, payload: int = PAYLOAD, chunk: int = 0) -> Samples:
    embedder = WatermarkEmbedder(PATTERN, payload, sample_rate)
    size = chunk or len(samples)
    pieces = [embedder.feed(samples[start : start + size].tobytes()) for start in range(0, len(samples), size)]
    return np.frombuffer(b"".join(pieces), "<i2")


@pytest.mark.parametrize("sample_rate", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_the_mark_and_its_payload_are_found_at_every_rate(sample_rate: int) -> None:
    assert (BLOCK_SECONDS * sample_rate).is_integer()

    detection = detect_watermark(marked(recording(sample_rate), sample_rate), sample_rate, PATTERN)

    assert detection.found
    assert detection.payload == PAYLOAD


def test_no_mark_is_found_in_a_recording_without_one_or_by_another_key() -> None:
    differences = band_differences(recording(), 16_000)
    assert not any(find_pattern(differences, Pattern(f"key {number}".encode())).found for number in range(50))

    detection = detect_watermark(marked(recording(), 16_000), 16_000, Pattern(b"another key"))
    assert not detection.found
    assert detection.payload is None


def test_chunks_of_any_size_are_marked_like_the_whole() -> None:
    samples = recording(seconds=2.0)
    whole = marked(samples, 16_000)

    for chunk in (1, 37, 1920, 8_000):
        size = len(samples) if chunk > 1 else 3_000
        pieces = marked(samples[:size], 16_000, chunk=chunk)
        # Transforms of other lengths may round the last bit of a sample differently.
        assert np.abs(pieces.astype(int) - whole[:size]).max() <= 1
        assert (pieces == whole[:size]).mean() > 0.999


def test_a_mark_adds_no_delay_and_no_sound_to_silence() -> None:
    samples = recording(seconds=3.0)
    padded = np.concatenate([np.zeros(5_000, np.int16), samples])

    result = marked(padded, 16_000)

    assert len(result) == len(padded)
    assert not result[:5_000].any()
    error = result[5_000:].astype(float) - samples
    assert np.sqrt(np.mean(error**2)) < 0.2 * np.sqrt(np.mean(samples.astype(float) ** 2))
    shifts = [float(np.dot(padded[:-8].astype(float), result[shift : len(result) - 8 + shift])) for shift in range(8)]
    assert int(np.argmax(shifts)) == 0


def test_loud_samples_are_limited_and_never_wrap_around() -> None:
    samples = np.where(recording(seconds=2.0) > 0, 32767, -32768).astype(np.int16)

    result = marked(samples, 16_000).astype(int)

    assert np.abs(result - samples).max() < 32768


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("quieter", lambda x: (x * 0.25).astype(np.int16)),
        ("cropped", lambda x: x[40_123:88_123]),
        ("delayed", lambda x: np.concatenate([np.zeros(7_777, np.int16), x])),
        ("noisy", lambda x: (x + np.random.default_rng(1).normal(0, x.std() / 10, len(x))).astype(np.int16)),
    ],
)
def test_a_mark_survives_changes(name: str, change) -> None:
    assert detect_watermark(change(marked(recording(), 16_000)), 16_000, PATTERN).found, name


def test_short_empty_and_silent_recordings_have_no_mark() -> None:
    for samples in (recording()[:0], recording()[:100], np.zeros(50_000, np.int16)):
        assert not detect_watermark(samples, 16_000, PATTERN).found


def test_confidence_is_what_recordings_without_a_mark_leave() -> None:
    scores = [THRESHOLD + step / 4 for step in range(40)]
    doubts = [1 - Detection(score, None, 0.0).confidence for score in scores]

    assert doubts[0] == pytest.approx(FALSE_ALARM_RATE)
    assert doubts == sorted(doubts, reverse=True)
    # Of 100,000 recordings without a mark that were counted, 16 reached 5.9 and about five 6.35.
    assert 16e-5 < doubts[0] < 32e-5
    assert 5e-5 * 0.5 < 1 - Detection(6.35, None, 0.0).confidence < 5e-5 * 2
    assert Detection(THRESHOLD - 0.01, None, 0.0).confidence == 0.0


def test_codewords_are_read_back_and_wrong_ones_are_noticed() -> None:
    for payload in (0, 1, PAYLOAD, MAX_PAYLOAD):
        code = codeword(payload)
        assert payload_of(code) == payload
        assert all(payload_of(code ^ 1 << bit) is None for bit in range(32))
    with pytest.raises(ValueError, match="0 to"):
        codeword(MAX_PAYLOAD + 1)


def test_the_true_peak_of_limited_speech_stays_below_its_limit_whatever_the_mark():
    limiter = PeakLimiter(16_000, -6.0 - PEAK_RISE_DB)
    loud = 4.0 * recording(seconds=3.0) / 32768
    limited = np.rint(np.concatenate([limiter.feed(loud), limiter.flush()]) * 32767).astype("<i2")

    peaks = [
        true_peak_db(marked(limited, 16_000, payload) / 32768) for payload in range(0, MAX_PAYLOAD, MAX_PAYLOAD // 40)
    ]

    assert max(peaks) <= -6.0
    assert max(peaks) > -6.0 - PEAK_RISE_DB  # a mark does raise them
