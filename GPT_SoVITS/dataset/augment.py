"""Augment recordings with noise, pitch, tempo or a room, in NumPy and librosa; one seed always gives one copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from GPT_SoVITS.audio import peak

MAX_PEAK = 0.99
"""A copy that became louder than this is turned down, so that nothing is clipped."""
Augmentation: TypeAlias = Callable[[np.ndarray, int, float, np.random.Generator], np.ndarray]
"""(N,) samples, rate in Hz, amount, random generator → samples."""


@dataclass(frozen=True, slots=True)
class AugmentedCopy:
    """A changed recording."""

    samples: np.ndarray
    """(N,) float32."""
    change: dict[str, Any]
    """Its `kind`, and the amount under the name of its range, for example `tempo_factor`."""


def augment(
    kind: str,
    samples: np.ndarray,
    rate: int,
    ranges: Mapping[str, tuple[float, float]],
    generator: np.random.Generator,
) -> AugmentedCopy:
    """Return a copy of (N,) float32 changed by a kind of augmentation (`_KINDS`), by a random amount.

    `ranges` holds (from, to) of the amount of each kind, under its name in `_KINDS`.
    """
    range_name, change = _KINDS[kind]
    amount = float(generator.uniform(*ranges[range_name]))
    changed = change(np.asarray(samples, dtype=np.float32), rate, amount, generator)
    highest = peak(changed)
    changed = changed * (MAX_PEAK / highest) if highest > MAX_PEAK else changed
    return AugmentedCopy(changed.astype(np.float32), {"kind": kind, range_name: round(amount, 4)})


def add_noise(samples: np.ndarray, rate: int, snr_db: float, generator: np.random.Generator) -> np.ndarray:
    """Add pink noise `snr_db` below the recording's mean power."""
    count = len(samples)
    spectrum = np.fft.rfft(generator.standard_normal(count))
    spectrum /= np.sqrt(np.maximum(1.0, np.arange(len(spectrum))))  # power falls by 3 dB an octave
    noise = np.fft.irfft(spectrum, count)
    power = float(np.square(samples, dtype=np.float64).mean())
    noise *= np.sqrt(power / 10 ** (snr_db / 10) / max(float(np.square(noise).mean()), 1e-20))
    noisy: np.ndarray = samples + noise
    return noisy


def shift_pitch(samples: np.ndarray, rate: int, semitones: float, generator: np.random.Generator) -> np.ndarray:
    """Shift the pitch; the copy is as long as the recording."""
    import librosa

    shifted: np.ndarray = librosa.effects.pitch_shift(samples, sr=rate, n_steps=semitones, res_type="soxr_hq")
    return shifted


def change_tempo(samples: np.ndarray, rate: int, factor: float, generator: np.random.Generator) -> np.ndarray:
    """Speak faster above 1, at the same pitch."""
    import librosa

    stretched: np.ndarray = librosa.effects.time_stretch(samples, rate=factor)
    return stretched


def add_room(samples: np.ndarray, rate: int, seconds: float, generator: np.random.Generator) -> np.ndarray:
    """Add the reverberation of a room that falls by 60 dB in `seconds`; the copy is as long as the recording."""
    times = np.arange(round(seconds * rate)) / rate
    tail = generator.standard_normal(len(times)) * 10 ** (-3 * times / seconds)
    tail[: round(0.004 * rate)] = 0.0  # the first wall is a meter away
    impulse = np.concatenate([[1.0], 0.5 * tail / max(float(np.sqrt(np.square(tail).sum())), 1e-9)])
    size = 1 << (len(samples) + len(impulse) - 1).bit_length()
    reverberant = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(impulse, size), size)
    return reverberant[: len(samples)]


def even_out_loudness(samples: np.ndarray, rate: int, ratio: float, generator: np.random.Generator) -> np.ndarray:
    """Compress the dynamics `ratio` to 1 around the mean level, as a compressor with windows of 50 ms does."""
    window = max(1, round(0.05 * rate))
    power = np.convolve(np.square(samples, dtype=np.float64), np.ones(window) / window, mode="same")
    level_db = 10 * np.log10(np.maximum(power, 1e-10))
    loud = level_db > level_db.max() - 40.0  # pauses and breaths stay as quiet as they are
    gain_db = np.where(loud, (level_db[loud].mean() - level_db) * (1 - 1 / ratio), 0.0)
    evened: np.ndarray = samples * 10 ** (np.convolve(gain_db, np.ones(window) / window, mode="same") / 20)
    return evened


def lift_treble(samples: np.ndarray, rate: int, gain_db: float, generator: np.random.Generator) -> np.ndarray:
    """Lift what lies above 3 kHz by `gain_db`, over an octave of transition."""
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate)
    share = np.clip(np.log2(np.maximum(frequencies, 1.0) / 2121.0), 0.0, 1.0)
    lifted: np.ndarray = np.fft.irfft(np.fft.rfft(samples) * 10 ** (gain_db * share / 20), len(samples))
    return lifted


_KINDS: dict[str, tuple[str, Augmentation]] = {
    "noise": ("noise_snr_db", add_noise),
    "pitch": ("pitch_semitones", shift_pitch),
    "tempo": ("tempo_factor", change_tempo),
    "room": ("room_seconds", add_room),
    "loudness": ("loudness_ratio", even_out_loudness),
    "treble": ("treble_db", lift_treble),
}
