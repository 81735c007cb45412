"""BigVGAN v2, the vocoder of v3 (Lee et al. 2023; specification s2-v3v4 §10). Names are official keys."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import reduce
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.vocoders.sizes import VocoderSizes

SAMPLE_RATE = 24_000
TAPS = 12
"""Of the low-pass filter around every activation."""
CUTOFF = 0.25
"""Of its rate: half the band, since the rate is doubled."""
TRANSITION = 1.2
"""Width of its transition band, in units of pi."""
ACTIVATION_REACH = 6
"""Samples that an activation reads on each side: three through the filter before it, three through the one after."""
MIN_BETA = 1e-9


class BigVGAN(nn.Module):
    """For inference: plain kernels; weights with weight norm are folded before they are loaded."""

    def __init__(self, sizes: VocoderSizes, *, sample_rate: int = SAMPLE_RATE) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.hop = sizes.hop
        self.context = sizes.context(ACTIVATION_REACH)
        self.branches = len(sizes.block_kernels)
        self.final_tanh = sizes.final_tanh
        self.conv_pre = nn.Conv1d(sizes.mels, sizes.width, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for i, (rate, size) in enumerate(zip(sizes.rates, sizes.kernels)):
            out = sizes.width >> (i + 1)
            up = nn.ConvTranspose1d(sizes.width >> i, out, size, stride=rate, padding=(size - rate) // 2)
            self.ups.append(nn.ModuleList([up]))
            for kernel, dilations in zip(sizes.block_kernels, sizes.block_dilations):
                self.resblocks.append(AMPBlock(out, kernel, dilations))
        last = sizes.width >> len(sizes.rates)
        self.activation_post = AntiAliasedSnake(last)
        self.conv_post = nn.Conv1d(last, 1, 7, padding=3, bias=sizes.final_bias)

    def forward(self, mel: Tensor) -> Tensor:
        """Convert mel (B, M, T), the natural logarithm of magnitudes -> (B, 1, T * hop) in [-1, 1]."""
        x: Tensor = self.conv_pre(mel)
        for i, stage in enumerate(self.ups):
            for up in stage.children():  # one, a level deeper in the official names
                x = up(x)
            blocks = self.resblocks[i * self.branches : (i + 1) * self.branches]
            x = reduce(operator.add, (block(x) for block in blocks)) / self.branches
        x = self.conv_post(self.activation_post(x))
        return x.tanh() if self.final_tanh else x.clamp(-1.0, 1.0)


class AMPBlock(nn.Module):
    """Residual pairs of a dilated and a plain convolution, with a periodic activation before each."""

    def __init__(self, channels: int, size: int, dilations: tuple[int, ...]) -> None:
        super().__init__()

        def same_length(dilation: int) -> nn.Conv1d:
            padding = (size - 1) * dilation // 2
            return nn.Conv1d(channels, channels, size, dilation=dilation, padding=padding)

        self.convs1 = nn.ModuleList(same_length(dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(same_length(1) for _ in dilations)
        self.activations = nn.ModuleList(AntiAliasedSnake(channels) for _ in range(2 * len(dilations)))

    def forward(self, x: Tensor) -> Tensor:
        """Apply to (B, C, T) -> (B, C, T)."""
        for first, dilated, second, plain in zip(
            self.activations[::2], self.convs1, self.activations[1::2], self.convs2
        ):
            x = x + plain(second(dilated(first(x))))
        return x


class AntiAliasedSnake(nn.Module):
    """SnakeBeta at twice the rate between two low-pass filters, so that what it adds above half the rate cannot fold
    back. In float32 whatever surrounds it: float16 phases of a sine are audible (§13.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.act = SnakeBeta(channels)
        self.upsample = Upsampling()
        self.downsample = Downsampling()

    def forward(self, x: Tensor) -> Tensor:
        """Apply to (B, C, T) -> (B, C, T), in the precision of the input."""
        with torch.autocast(x.device.type, enabled=False):
            activated: Tensor = self.downsample(self.act(self.upsample(x.float())))
            return activated.to(x.dtype)


class SnakeBeta(nn.Module):
    """x + sin²(x * e^alpha) / e^beta, one alpha and one beta a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Apply to (B, C, T) -> (B, C, T)."""
        frequency = self.alpha.float().exp()[:, None]  # (C, 1)
        strength = (self.beta.float().exp() + MIN_BETA).reciprocal()[:, None]
        return torch.addcmul(x, torch.sin(x * frequency).square_(), strength)


class LowPass(nn.Module):
    """One filter for all channels, a buffer of the official files; it stays in float32 when its module does not."""

    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", low_pass_taps()[None, None])  # (1, 1, TAPS)

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        exact = self.filter
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        self.filter = exact.to(self.filter.device)
        return self


class Upsampling(LowPass):
    """Doubles the rate."""

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (B, C, T) -> (B, C, 2 T)."""
        channels = x.shape[1]
        margin = TAPS // 2 - 1
        padded = F.pad(x, (margin, margin), mode="replicate")
        y = F.conv_transpose1d(padded, 2 * self.filter.expand(channels, 1, TAPS), stride=2, groups=channels)
        surplus = 2 * margin + TAPS // 2 - 1
        return y[..., surplus:-surplus]


class Downsampling(nn.Module):
    """Halves the rate; its filter is one level deeper in the official names."""

    def __init__(self) -> None:
        super().__init__()
        self.lowpass = LowPass()

    def forward(self, x: Tensor) -> Tensor:
        """Downsample (B, C, 2 T) -> (B, C, T)."""
        channels = x.shape[1]
        padded = F.pad(x, (TAPS // 2 - 1, TAPS // 2), mode="replicate")
        return F.conv1d(padded, self.lowpass.filter.expand(channels, 1, TAPS), stride=2, groups=channels)


def low_pass_taps() -> Tensor:
    """Return the (TAPS,) of a Kaiser-windowed sinc around ±0.5, ±1.5, …, that sum to 1."""
    attenuation = 2.285 * (TAPS // 2 - 1) * math.pi * TRANSITION + 7.95  # dB; over 50, so Kaiser's third rule holds
    window = np.kaiser(TAPS, 0.1102 * (attenuation - 8.7))
    taps = 2 * CUTOFF * window * np.sinc(2 * CUTOFF * (np.arange(TAPS) - TAPS / 2 + 0.5))
    return torch.from_numpy((taps / taps.sum()).astype(np.float32))
