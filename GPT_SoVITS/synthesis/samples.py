"""From spoken sentences to one recording: peaks, pauses, 16-bit samples (specification inference-pipeline §10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from GPT_SoVITS import audio

REFERENCE_PAUSE_RATE = 32_000
"""Hz by which the original counts pauses, whatever rate it speaks at (§15.2)."""
REFERENCE_SCALE = 32_768


def limit_peak(samples: np.ndarray) -> np.ndarray:
    """Scale down what would clip (§10); never up."""
    peak = audio.peak(samples)
    return samples / peak if peak > 1.0 else samples


def pause(seconds: float, rate: int, *, compat: str | None = None) -> np.ndarray:
    """(N,) float32 zeros that last `seconds` at `rate` Hz; `compat="reference"` counts at 32 kHz, too long at 24."""
    if seconds < 0:
        raise ValueError(f"A pause of {seconds} s cannot be.")
    count = int(REFERENCE_PAUSE_RATE * seconds) if compat == "reference" else round(rate * seconds)
    return np.zeros(count, dtype=np.float32)


def join_sentences(
    sentences: Sequence[np.ndarray], *, rate: int, interval: float, compat: str | None = None
) -> np.ndarray:
    """(N,) float32 in [-1, 1]: every sentence limited for itself and followed by `interval` seconds of silence."""
    silence = pause(interval, rate, compat=compat)
    parts = [part for sentence in sentences for part in (limit_peak(sentence), silence)]
    return np.concatenate([np.zeros(0, dtype=np.float32), *parts])


def to_int16(samples: np.ndarray, *, compat: str | None = None) -> np.ndarray:
    """Rounded, clipped, never wrapped; `compat="reference"` cuts off the fraction and lets +1.0 become -1.0 (§15.1)."""
    if compat == "reference":
        return (samples * REFERENCE_SCALE).astype(np.int32).astype(np.int16)
    return audio.to_int16(samples)
