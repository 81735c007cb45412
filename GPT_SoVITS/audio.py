"""Sound in memory: mono float32 samples and their rate; no torch.

Files here are our own or were decoded by a limited child before; a stranger's file is not opened with these.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from GPT_SoVITS.errors import ModelError

FULL_SCALE = 32767.0
"""One less than int16 could hold below zero, so that +1.0 never wraps round."""


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    """(N,) float32 samples, channels averaged, and the sample rate. Raises ModelError "bad_audio"."""
    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise ModelError("bad_audio", f"{path.name} cannot be read: {error}.") from error
    return (samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)), int(rate)


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """A mono 16-bit WAV, whole or not at all; float samples beyond full scale are clipped."""
    whole = samples if samples.dtype == np.int16 else to_int16(samples)
    making = path.with_name(f".{path.name}.{os.getpid()}.making")
    try:
        soundfile.write(str(making), whole, rate, format="WAV", subtype="PCM_16")
        os.replace(making, path)
    finally:
        making.unlink(missing_ok=True)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Rounded, clipped, never wrapped."""
    return np.clip(np.rint(samples * FULL_SCALE), -32768, 32767).astype(np.int16)


def resample(samples: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    """(N,) -> (ceil(N · to_rate / rate),) float32, by soxr's high quality."""
    samples = np.asarray(samples, dtype=np.float32)
    if rate == to_rate:
        return samples
    wanted = -(-len(samples) * to_rate // rate)
    made = soxr.resample(samples, rate, to_rate, quality="HQ")
    return np.pad(made, (0, max(0, wanted - len(made))))[:wanted]


def peak(samples: np.ndarray) -> float:
    """Largest absolute sample; 0 for nothing."""
    return float(np.abs(samples).max(initial=0.0))


def limit_peak(samples: np.ndarray) -> np.ndarray:
    """Scale samples down to full scale where their peak exceeds 1; never up."""
    highest = peak(samples)
    return samples / highest if highest > 1.0 else samples


def loudness(samples: np.ndarray) -> float:
    """RMS in dB of full scale; −inf for silence."""
    power = float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0
    return 10 * float(np.log10(power)) if power > 0 else float("-inf")


def frame_rms(samples: np.ndarray, hop: int, window: int) -> np.ndarray:
    """(1 + (N + 2·(window//2) − window) // hop,) RMS of centred frames, with zeros beyond both ends.

    By running sums, so that an hour needs no matrix of frames.
    """
    padded = np.pad(np.asarray(samples, dtype=np.float64), window // 2)
    energy = np.concatenate([[0.0], np.cumsum(padded * padded)])
    starts = np.arange(0, len(padded) - window + 1, hop)
    return np.sqrt(np.maximum(energy[starts + window] - energy[starts], 0.0) / window)
