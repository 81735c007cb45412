"""The 80-band filter bank of the speaker encoder, as Kaldi computes it (specification s2-sovits §21.1)."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.errors import ModelError

SAMPLE_RATE = 16_000
FRAME, SHIFT, FFT = 400, 160, 512
BANDS = 80
LOWEST_HERTZ, HIGHEST_HERTZ = 20.0, 8000.0
PREEMPHASIS = 0.97
FLOOR = 1.1920929e-7
"""Smallest energy before the logarithm: float32's epsilon; silence gives -15.9424."""


def fbank(wave: Tensor) -> Tensor:
    """Compute wave (B, N) or (N,) in [-1, 1] at 16 kHz -> (B, 1 + (N - 400) // 160, 80) natural logarithms, float32.

    No dither, no mean subtraction. Always in float32: quiet bands are near the floor, below what half precision
    resolves.

    Raises:
        ModelError: "recording_too_short" below 400 samples.
    """
    wave = wave.float().reshape(-1, wave.shape[-1])
    if wave.shape[1] < FRAME:
        raise ModelError(
            "recording_too_short",
            f"A speaker vector needs {FRAME} samples at {SAMPLE_RATE} Hz; there are {wave.shape[1]}.",
        )
    with torch.autocast(wave.device.type, enabled=False):
        frames = wave.unfold(1, FRAME, SHIFT)  # (B, frames, 400)
        frames = frames - frames.mean(dim=2, keepdim=True)
        previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        frames = (frames - PREEMPHASIS * previous) * _window(wave.device)
        power = torch.view_as_real(torch.fft.rfft(F.pad(frames, (0, FFT - FRAME)))).square().sum(dim=-1)
        energies = power[..., : FFT // 2] @ _bands(wave.device).T  # the bin at half the rate belongs to no band
        return energies.clamp(min=FLOOR).log()


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def _window(device: torch.device) -> Tensor:
    """Return (400,) Povey's window: a symmetric Hann to the power of 0.85."""
    return torch.hann_window(FRAME, periodic=False, dtype=torch.float64).pow(0.85).float().to(device)


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def _bands(device: torch.device) -> Tensor:
    """Return (80, 256) triangles whose slopes are straight on the mel scale."""
    low, high = _mel(LOWEST_HERTZ), _mel(HIGHEST_HERTZ)
    edges = torch.linspace(low, high, BANDS + 2, dtype=torch.float64)
    bins = torch.tensor([_mel(i * SAMPLE_RATE / FFT) for i in range(FFT // 2)], dtype=torch.float64)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0.0).float().to(device)


def _mel(hertz: float) -> float:
    return 1127.0 * math.log(1.0 + hertz / 700.0)
