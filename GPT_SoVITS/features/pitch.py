"""Fundamental frequency by YIN (de Cheveigné and Kawahara 2002), for all frames of a recording at once."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

PITCH_RANGE = (60.0, 500.0)
"""Hz."""
WINDOW_SECONDS = 0.032
"""Length that is compared with itself, shifted: two periods of the lowest pitch."""
CLEAR_DIP = 0.15
"""A dip of the normalized difference below this is a period; the first such dip is taken."""
VOICED_DIP = 0.35
"""Where there is none, the deepest dip counts up to this."""
MIN_RMS = 0.004
"""Root mean square below which nothing is voiced."""
BLOCK_FRAMES = 2048


def pitch(samples: np.ndarray, rate: int, hop: int) -> np.ndarray:
    """Estimate the pitch of (N,) float32 in [-1, 1] -> (N // hop,) float32 in Hz, at the middle of each hop.

    It is 0 where nothing is voiced.
    """
    window, longest = int(WINDOW_SECONDS * rate), int(rate / PITCH_RANGE[0])
    frames = len(samples) // hop
    if frames == 0:
        return np.zeros(0, np.float32)
    margin = (window + longest) // 2
    padded = np.pad(samples.astype(np.float32), (margin, margin + hop))
    views = sliding_window_view(padded, window + longest)[hop // 2 :: hop][:frames]  # (T, W + L)
    blocks = [
        _block_pitch(views[start : start + BLOCK_FRAMES], window, longest, rate)
        for start in range(0, frames, BLOCK_FRAMES)
    ]
    return _without_isolated_frames(np.concatenate(blocks))


def _block_pitch(views: np.ndarray, window: int, longest: int, rate: int) -> np.ndarray:
    """Estimate the pitch of frames (T, W + L) -> (T,) Hz, 0 where nothing is voiced."""
    difference = _difference(views, window, longest)  # (T, L + 1)
    lags = np.arange(1, longest + 1)
    mean = np.cumsum(difference[:, 1:], axis=1) / lags
    dips = np.ones_like(difference)
    dips[:, 1:] = difference[:, 1:] / np.maximum(mean, 1e-9)
    shortest = int(rate / PITCH_RANGE[1])
    inner = dips[:, shortest:longest]
    low = (inner < CLEAR_DIP) & (inner <= dips[:, shortest + 1 : longest + 1])
    lag = np.where(low.any(axis=1), low.argmax(axis=1), inner.argmin(axis=1)) + shortest
    rows = np.arange(len(views))
    loud = np.sqrt(np.mean(views[:, :window] ** 2, axis=1)) > MIN_RMS
    voiced = loud & (dips[rows, lag] < VOICED_DIP)
    return np.where(voiced, rate / _refined(dips, lag), 0.0).astype(np.float32)


def _difference(views: np.ndarray, window: int, longest: int) -> np.ndarray:
    """Compute the squared difference of each window and the window L samples later -> (T, L + 1) for all L."""
    size = 1 << (window + longest - 1).bit_length()
    head = np.fft.rfft(views[:, :window], size)
    products = np.fft.irfft(np.conj(head) * np.fft.rfft(views, size), size)[:, : longest + 1]
    energy = np.cumsum(np.pad(views**2, ((0, 0), (1, 0))), axis=1)
    later = energy[:, window : window + longest + 1] - energy[:, : longest + 1]
    difference: np.ndarray = np.maximum(later[:, :1] + later - 2 * products, 0.0)
    return difference


def _refined(dips: np.ndarray, lag: np.ndarray) -> np.ndarray:
    """Return the lag at the bottom of the parabola through each dip and its neighbors."""
    rows = np.arange(len(dips))
    before, here, after = dips[rows, lag - 1], dips[rows, lag], dips[rows, np.minimum(lag + 1, dips.shape[1] - 1)]
    bend = before + after - 2 * here
    return lag + np.where(bend > 1e-9, np.clip((before - after) / (2 * np.maximum(bend, 1e-9)), -1, 1), 0.0)


def _without_isolated_frames(f0: np.ndarray) -> np.ndarray:
    """Correct isolated frames: voiced between unvoiced ones, or an octave off the median of their neighbors."""
    padded = np.pad(f0, 2)
    neighborhoods = sliding_window_view(padded, 5)  # (T, 5)
    voiced = (neighborhoods > 0).sum(axis=1)
    median = np.array([np.median(row[row > 0]) if count else 0.0 for row, count in zip(neighborhoods, voiced)])
    jump = (f0 > 0) & ((f0 > 1.6 * median) | (f0 < 0.6 * median))
    return np.where((f0 > 0) & (voiced >= 2), np.where(jump, median, f0), 0.0).astype(np.float32)
