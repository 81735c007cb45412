"""Audio in memory: mono float32 samples and their rate in Hz; no torch.

Files are our own or were decoded by a limited child process before; untrusted input is not opened with these.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from common.files import atomic_path
from GPT_SoVITS.errors import ModelError

FULL_SCALE = 32767.0
"""One less than int16 could hold below zero, so that +1.0 never wraps round."""


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    """Return (N,) float32 samples, channels averaged, and the sample rate; raise ModelError `bad_audio`."""
    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise ModelError("bad_audio", f"{path.name} cannot be read: {error}.") from error
    return (samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)), int(rate)


def read_resampled(path: Path, rate: int) -> np.ndarray:
    """Return (N,) float32 samples at `rate` Hz, channels averaged; raise ModelError `bad_audio`."""
    samples, file_rate = read_mono(path)
    return resample(samples, file_rate, rate)


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write a mono 16-bit WAV, complete or not at all; clip float samples beyond full scale."""
    pcm = samples if samples.dtype == np.int16 else to_int16(samples)
    with atomic_path(path) as temporary:
        soundfile.write(str(temporary), pcm, rate, format="WAV", subtype="PCM_16")


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Return float samples in [-1, 1] as int16: rounded, clipped, never wrapped."""
    return np.clip(np.rint(samples * FULL_SCALE), -32768, 32767).astype(np.int16)


def resample(samples: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    """Return (ceil(N · to_rate / rate),) float32 for (N,), resampled by soxr's high quality."""
    samples = np.asarray(samples, dtype=np.float32)
    if rate == to_rate:
        return samples
    length = -(-len(samples) * to_rate // rate)
    resampled = soxr.resample(samples, rate, to_rate, quality="HQ")
    return np.pad(resampled, (0, max(0, length - len(resampled))))[:length]


def peak(samples: np.ndarray) -> float:
    """Return the largest absolute sample; 0 for none."""
    return float(np.abs(samples).max(initial=0.0))


def limit_peak(samples: np.ndarray) -> np.ndarray:
    """Scale samples down to full scale where their peak exceeds 1; never up."""
    highest = peak(samples)
    return samples / highest if highest > 1.0 else samples


def loudness(samples: np.ndarray) -> float:
    """Return the RMS in dB of full scale; −inf for silence."""
    power = float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0
    return 10 * float(np.log10(power)) if power > 0 else float("-inf")


def frame_rms(samples: np.ndarray, hop: int, window: int) -> np.ndarray:
    """Return (1 + (N + 2·(window//2) − window) // hop,) RMS of centered frames, with zeros beyond both ends.

    By running sums, so that an hour needs no matrix of frames.
    """
    padded = np.pad(np.asarray(samples, dtype=np.float64), window // 2)
    energy = np.concatenate([[0.0], np.cumsum(padded * padded)])
    starts = np.arange(0, len(padded) - window + 1, hop)
    rms: np.ndarray = np.sqrt(np.maximum(energy[starts + window] - energy[starts], 0.0) / window)
    return rms
