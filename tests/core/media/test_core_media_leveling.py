"""Speech is brought to a loudness without jumps, without clipping, and whatever pieces it comes in."""

from __future__ import annotations

import warnings

import numpy as np
import pyloudnorm
import pytest
import soxr
from bundled_speech import RATE, piece

from core.media.leveling import LOOK_AHEAD_SECONDS, LevelSettings, SpeechLeveler, samples_of
from core.media.loudness import LoudnessMeter
from core.media.peak_limiter import PeakLimiter, true_peak_db


def reference_loudness(samples: np.ndarray, rate: int = RATE) -> float:
    """By the filters of BS.1770, which pyloudnorm has under this name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(samples))


def pieces_of(samples: np.ndarray, longest: int = 5000) -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    pieces, start = [], 0
    while start < len(samples):
        pieces.append(samples[start : start + int(generator.integers(1, longest))])
        start += len(pieces[-1])
    return pieces


def leveled(
    leveler: SpeechLeveler, *utterances: np.ndarray, loudness: float | None = -20.0, longest: int = 5000
) -> np.ndarray:
    output = []
    for samples in utterances:
        pcm = (samples * 32767).astype("<i2")
        output += [leveler.feed(part.tobytes(), "anna", loudness) for part in pieces_of(pcm, longest)]
        output.append(leveler.end_utterance("anna", loudness))
    return samples_of(b"".join(output))


@pytest.mark.parametrize("rate", [16_000, 24_000, 32_000, 48_000])
def test_the_meter_measures_as_the_standard_says(rate: int) -> None:
    speech = soxr.resample(np.concatenate([piece(10, 4), np.zeros(2 * RATE), piece(20, 3) * 0.2]), RATE, rate)
    meter = LoudnessMeter(rate)
    for part in pieces_of(speech):
        meter.add(part)

    assert meter.integrated() == pytest.approx(reference_loudness(speech, rate), abs=0.01)


def test_silence_has_no_loudness() -> None:
    meter = LoudnessMeter(RATE)
    meter.add(np.zeros(3 * RATE))

    assert meter.integrated() is None


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_the_limiter_keeps_the_curve_between_the_samples_below_its_ceiling(rate: int) -> None:
    loud = 6 * soxr.resample(piece(10, 4).astype(float), RATE, rate)
    limiter = PeakLimiter(rate, -1.0)
    limited = np.concatenate([*map(limiter.feed, pieces_of(loud)), limiter.flush()])

    assert true_peak_db(loud) > 3
    assert len(limited) == len(loud)
    assert 20 * np.log10(np.abs(soxr.resample(limited, rate, 16 * rate)).max()) <= -1.0
    assert reference_loudness(limited, rate) > reference_loudness(loud, rate) - 12


def test_the_limiter_changes_nothing_below_its_ceiling() -> None:
    quiet = piece(10, 4) * 0.1
    limiter = PeakLimiter(RATE, -1.0)

    assert np.array_equal(np.concatenate([*map(limiter.feed, pieces_of(quiet)), limiter.flush()]), quiet)


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("loudness", [-16.0, -23.0])
def test_a_stream_comes_to_its_loudness_from_any_level(scale: float, loudness: float) -> None:
    utterances = [scale * piece(start, seconds) for start, seconds in ((10, 3), (20, 2), (30, 4))]
    output = leveled(SpeechLeveler(RATE, LevelSettings()), *utterances, loudness=loudness)

    assert len(output) == sum(map(len, utterances))
    assert reference_loudness(output) == pytest.approx(loudness, abs=1.0)
    assert true_peak_db(output) <= -1.0


def test_the_gain_of_a_stream_never_jumps() -> None:
    hum = 0.05 * np.sin(2 * np.pi * 440 * np.arange(6 * RATE) / RATE)
    hum[3 * RATE :] *= 3
    output = leveled(SpeechLeveler(RATE, LevelSettings()), hum, loudness=-20.0)
    frames = np.sqrt(np.square((output / np.where(hum == 0, 1, hum))[: 6 * RATE].reshape(-1, RATE // 50)).mean(axis=1))

    assert np.abs(np.diff(20 * np.log10(frames))).max() < 0.2  # 0.5 dB in 100 ms, in frames of 20 ms


def test_the_samples_do_not_depend_on_the_pieces_in_which_they_come() -> None:
    utterances = [piece(10, 3), piece(20, 2)]
    settings = LevelSettings(trim_silence=True)
    outputs = [leveled(SpeechLeveler(RATE, settings), *utterances, longest=longest) for longest in (50, 900, 50_000)]

    assert np.array_equal(outputs[0], outputs[1])
    assert np.array_equal(outputs[0], outputs[2])


def test_a_stream_stays_no_more_than_its_look_ahead_behind() -> None:
    leveler = SpeechLeveler(RATE, LevelSettings())
    pcm = (piece(10, 3) * 32767).astype("<i2")
    count = returned = 0
    for part in pieces_of(pcm, 500):
        count += len(part)
        returned += len(leveler.feed(part.tobytes(), "anna", -16.0)) // 2
        # A tenth of a second is the grid of the gains, and the limiter looks 12 ms ahead.
        assert count - returned <= (LOOK_AHEAD_SECONDS + 0.1 + 0.012) * RATE


def test_each_voice_has_a_gain_of_its_own() -> None:
    leveler = SpeechLeveler(RATE, LevelSettings(), whole_utterances=True)
    speech = piece(10, 3)
    output = []
    for voice, scale in (("anna", 0.05), ("ben", 0.5), ("anna", 0.05), ("ben", 0.5)):
        pcm = (scale * speech * 32767).astype("<i2").tobytes()
        turn = leveler.feed(pcm, voice, -20.0) + leveler.end_utterance(voice, -20.0)
        output.append(reference_loudness(samples_of(turn)))

    assert output == pytest.approx([-20.0] * 4, abs=0.3)


def test_without_a_loudness_the_samples_stay_as_they_are() -> None:
    speech = piece(10, 2)
    leveler = SpeechLeveler(RATE, LevelSettings(true_peak=-20.0))

    output = leveled(leveler, speech, loudness=None)
    assert np.array_equal(output, samples_of((speech * 32767).astype("<i2").tobytes()))


@pytest.mark.parametrize("loudness", [None, -20.0])
def test_silence_is_trimmed_at_the_ends_and_stays_within(loudness: float | None) -> None:
    silence, hum = np.zeros(RATE), 0.3 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)
    leveler = SpeechLeveler(RATE, LevelSettings(trim_silence=True))
    output = leveled(
        leveler, np.concatenate([silence, hum, silence]), np.concatenate([silence, hum, silence]), loudness=loudness
    )
    loud = np.flatnonzero(np.abs(output) > 0.01)

    assert leveler.trimmed_seconds == pytest.approx(0.97, abs=0.02)
    assert len(output) / RATE == pytest.approx(0.03 + 1 + 2 + 1 + 0.03, abs=0.03)
    assert loud[0] / RATE == pytest.approx(0.03, abs=0.02)
    assert (len(output) - loud[-1]) / RATE == pytest.approx(0.03, abs=0.02)


def test_a_speech_of_silence_is_trimmed_to_nothing() -> None:
    leveler = SpeechLeveler(RATE, LevelSettings(trim_silence=True))

    assert len(leveled(leveler, np.zeros(2 * RATE))) == 0
