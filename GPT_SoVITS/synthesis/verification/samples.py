"""Faults of the audio itself."""

from __future__ import annotations

import numpy as np

from GPT_SoVITS.synthesis.verification.faults import Fault, FaultKind

FRAME_SECONDS = 0.02
QUIET = 1e-3
"""RMS of a frame below which nothing is heard, at full scale 1."""
QUIET_SECONDS = 1.3
"""Of a pause within an utterance, or at one of its ends."""
CLIPPED_LEVEL, CLIPPED_SHARE, CLIPPED_SAMPLES = 0.999, 0.002, 32
TAIL_SECONDS = 0.05
TAIL_RATIO = 0.3
"""RMS of the end against that of the whole: an end at full level is at about 1, a clean one below 0.01."""


def sample_faults(samples: np.ndarray, rate: int, *, speed: float = 1.0) -> list[Fault]:
    """Return the faults of an utterance's samples (N,) in [-1, 1], before its peak is limited."""
    seconds = len(samples) / rate
    size = max(1, round(FRAME_SECONDS * rate))
    padded = np.pad(samples, (0, -len(samples) % size))
    rms = np.sqrt(np.square(padded.reshape(-1, size), dtype=np.float64).mean(axis=1))
    faults = [
        Fault(FaultKind.SILENCE, start * FRAME_SECONDS, min(seconds, end * FRAME_SECONDS))
        for start, end in _runs(rms < QUIET)
        if (end - start) * FRAME_SECONDS > QUIET_SECONDS / min(speed, 1.0) or end - start == len(rms)
    ]
    clipped = np.flatnonzero(np.abs(samples) >= CLIPPED_LEVEL)
    if len(clipped) > max(CLIPPED_SAMPLES, CLIPPED_SHARE * len(samples)):
        faults.append(Fault(FaultKind.CLIPPING, float(clipped[0]) / rate, float(clipped[-1] + 1) / rate))
    tail = samples[-round(TAIL_SECONDS * rate) :]
    if _rms(tail) > max(TAIL_RATIO * _rms(samples), QUIET):
        faults.append(Fault(FaultKind.CUT_OFF, max(0.0, seconds - TAIL_SECONDS), seconds))
    return faults


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.square(samples, dtype=np.float64).mean())) if len(samples) else 0.0


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return (start, end) of the stretches of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
