"""Changed copies of a recording: noise, pitch, tempo, a room. Numpy and librosa; the same generator, the same copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from GPT_SoVITS.audio import peak

LOUDEST = 0.99
"""A copy that grew louder than this is turned down, so that nothing is clipped."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A changed recording."""

    samples: np.ndarray
    change: dict[str, Any]
    """`{kind, …}`: what was drawn."""


def augment(
    kind: str,
    samples: np.ndarray,
    rate: int,
    ranges: Mapping[str, tuple[float, float]],
    random: np.random.Generator,
) -> Copy:
    """(N,) float32 -> a copy changed by `kind` (`noise`, `pitch`, `tempo`, `room`), by as much as `random` draws.

    `ranges` holds (from, to) of `noise_snr_db`, `pitch_semitones`, `tempo_factor`, `room_seconds`.
    """
    name, change = _KINDS[kind]
    amount = float(random.uniform(*ranges[name]))
    made = change(np.asarray(samples, dtype=np.float32), rate, amount, random)
    loudest = peak(made)
    made = made * (LOUDEST / loudest) if loudest > LOUDEST else made
    return Copy(made.astype(np.float32), {"kind": kind, name: round(amount, 4)})


def add_noise(samples: np.ndarray, rate: int, snr_db: float, random: np.random.Generator) -> np.ndarray:
    """Pink noise, so many dB below the recording's mean power."""
    count = len(samples)
    spectrum = np.fft.rfft(random.standard_normal(count))
    spectrum /= np.sqrt(np.maximum(1.0, np.arange(len(spectrum))))  # power falls by 3 dB an octave
    noise = np.fft.irfft(spectrum, count)
    power = float(np.square(samples, dtype=np.float64).mean())
    noise *= np.sqrt(power / 10 ** (snr_db / 10) / max(float(np.square(noise).mean()), 1e-20))
    return samples + noise


def shift_pitch(samples: np.ndarray, rate: int, semitones: float, random: np.random.Generator) -> np.ndarray:
    """As long as before."""
    import librosa

    return librosa.effects.pitch_shift(samples, sr=rate, n_steps=semitones, res_type="soxr_hq")


def change_tempo(samples: np.ndarray, rate: int, factor: float, random: np.random.Generator) -> np.ndarray:
    """Faster above 1, at the same pitch."""
    import librosa

    return librosa.effects.time_stretch(samples, rate=factor)


def add_room(samples: np.ndarray, rate: int, seconds: float, random: np.random.Generator) -> np.ndarray:
    """The reverberation of a room that falls by 60 dB in so many seconds; as long as before."""
    times = np.arange(round(seconds * rate)) / rate
    tail = random.standard_normal(len(times)) * 10 ** (-3 * times / seconds)
    tail[: round(0.004 * rate)] = 0.0  # the first wall is a metre away
    impulse = np.concatenate([[1.0], 0.5 * tail / max(float(np.sqrt(np.square(tail).sum())), 1e-9)])
    size = 1 << (len(samples) + len(impulse) - 1).bit_length()
    made = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(impulse, size), size)
    return made[: len(samples)]


_KINDS: dict[str, tuple[str, Callable[[np.ndarray, int, float, np.random.Generator], np.ndarray]]] = {
    "noise": ("noise_snr_db", add_noise),
    "pitch": ("pitch_semitones", shift_pitch),
    "tempo": ("tempo_factor", change_tempo),
    "room": ("room_seconds", add_room),
}
