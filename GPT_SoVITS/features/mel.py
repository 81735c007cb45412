"""Spectrograms, mel bands and the resampler (specification s2-sovits §11, §22.2 and s2-v3v4 §9)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.errors import ModelError

FLOOR = 1e-5
"""Smallest mel magnitude before the logarithm."""
MIN_LOG, MAX_LOG = -12.0, 2.0
"""Log magnitudes that v3 and v4 map to -1 and 1."""
RESAMPLER_ZEROS = 6
RESAMPLER_ROLLOFF = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMelConfig:
    """How v3 and v4 compute mels: the `data.mel` section of their recipes."""

    sampling_rate: int
    """Hz."""
    n_fft: int
    hop: int
    """Samples between frames."""
    win: int
    """Samples of the window."""
    n_mels: int
    fmin: float
    """Hz."""
    fmax: float | None
    """Hz; None is half the sampling rate."""


def spectrogram(wave: Tensor, *, n_fft: int, hop: int, win: int) -> Tensor:
    """Compute wave (B, N) in [-1, 1] -> magnitudes (B, n_fft // 2 + 1, N // hop); silence gives 1e-4.

    In float32 even under autocast.

    Raises:
        ModelError: "recording_too_short" when N is too short to be reflected.
    """
    pad = (n_fft - hop) // 2
    if wave.shape[-1] <= pad:
        raise ModelError(
            "recording_too_short", f"A spectrogram needs more than {pad} samples; there are {wave.shape[-1]}."
        )
    with torch.autocast(wave.device.type, enabled=False):
        padded = F.pad(wave.float()[:, None], (pad, pad), mode="reflect")[:, 0]
        window = _hann(win, wave.device)
        parts = torch.view_as_real(
            torch.stft(padded, n_fft, hop, win, window, center=False, onesided=True, return_complex=True)
        )
        return (parts.square().sum(dim=-1) + 1e-8).sqrt()


def mel_spectrogram(
    spec: Tensor, *, sampling_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None
) -> Tensor:
    """Compute magnitudes spec (B, F, T) -> natural logarithms (B, n_mels, T)."""
    with torch.autocast(spec.device.type, enabled=False):
        bands = mel_bands(sampling_rate, n_fft, n_mels, fmin, fmax).to(spec.device)
        return (bands @ spec.float()).clamp(min=FLOOR).log()


def log_mel(wave: Tensor, config: LogMelConfig) -> Tensor:
    """Compute wave (B, N) in [-1, 1] -> (B, n_mels, N // hop): the mel of v3 and v4 (s2-v3v4 §9).

    Raises:
        ModelError: "recording_too_short".
    """
    spec = spectrogram(wave, n_fft=config.n_fft, hop=config.hop, win=config.win)
    return mel_spectrogram(
        spec,
        sampling_rate=config.sampling_rate,
        n_fft=config.n_fft,
        n_mels=config.n_mels,
        fmin=config.fmin,
        fmax=config.fmax,
    )


def normalize(mel: Tensor, low: float = MIN_LOG, high: float = MAX_LOG) -> Tensor:
    """Scale a log-mel as v3 and v4 read it: `low` to `high` becomes -1 to 1, and nothing is clipped."""
    return (mel - low) / (high - low) * 2 - 1


def denormalize(mel: Tensor, low: float = MIN_LOG, high: float = MAX_LOG) -> Tensor:
    """Invert `normalize`."""
    return (mel + 1) / 2 * (high - low) + low


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # a cached tensor must serve a training, too
def mel_bands(sampling_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None) -> Tensor:
    """Return (n_mels, n_fft // 2 + 1) triangles of equal area on Slaney's scale."""
    top = sampling_rate / 2 if fmax is None else fmax
    edges = _slaney_to_hertz(np.linspace(_hertz_to_slaney(fmin), _hertz_to_slaney(top), n_mels + 2))
    bins = np.linspace(0.0, sampling_rate / 2, n_fft // 2 + 1)
    distance = edges[:, None] - bins[None]  # (n_mels + 2, F)
    width = np.diff(edges)[:, None]
    triangles = np.maximum(0.0, np.minimum(-distance[:-2] / width[:-1], distance[2:] / width[1:]))
    return torch.from_numpy((triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32))


def resample(wave: Tensor, before: int, after: int) -> Tensor:
    """Resample wave (..., N) from `before` to `after` Hz -> (..., ceil(N * after / before)), as torchaudio does."""
    if before == after:
        return wave
    divisor = math.gcd(before, after)
    old, new = before // divisor, after // divisor
    kernel, width = _resampler(old, new)
    length = math.ceil(new * wave.shape[-1] / old)
    padded = F.pad(wave.reshape(-1, 1, wave.shape[-1]), (width, width + old))
    phases = F.conv1d(padded, kernel.to(wave), stride=old)  # (B, new, N')
    samples: Tensor = phases.transpose(1, 2).flatten(1)[:, :length]
    return samples.reshape(*wave.shape[:-1], length)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _resampler(old: int, new: int) -> tuple[Tensor, int]:
    """Return windowed sincs (new, 1, K), one a phase, and the samples that they reach back."""
    cutoff = RESAMPLER_ROLLOFF * min(old, new)
    width = math.ceil(RESAMPLER_ZEROS * old / cutoff)
    # torchaudio rounds the phase to float32 before it subtracts; files made by it carry that rounding.
    phase = (np.arange(new, dtype=np.float32) / np.float32(new)).astype(np.float64)
    position = np.arange(-width, width + old) / old
    t = np.clip(cutoff * (position[None] - phase[:, None]), -RESAMPLER_ZEROS, RESAMPLER_ZEROS)
    window = np.cos(t * math.pi / RESAMPLER_ZEROS / 2) ** 2
    kernel = cutoff / old * np.sinc(t) * window
    return torch.from_numpy(kernel.astype(np.float32))[:, None], width


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _hann(size: int, device: torch.device) -> Tensor:
    return torch.hann_window(size, device=device)


def _hertz_to_slaney(hertz: float | np.ndarray) -> np.ndarray:
    """Convert to Slaney's scale: linear below 1000 Hz, 27 steps to a factor of 6.4 above."""
    hertz = np.asarray(hertz, dtype=np.float64)
    return np.where(
        hertz < 1000.0, hertz * 3 / 200, 15.0 + 27.0 * np.log(np.maximum(hertz, 1e-9) / 1000.0) / math.log(6.4)
    )


def _slaney_to_hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15.0, mel * 200 / 3, 1000.0 * np.exp((mel - 15.0) * math.log(6.4) / 27.0))
