"""Generator: latent frames to a waveform (specification s2-sovits §9). Names are official keys."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.sovits.layers import LEAKY_SLOPE, NormedConv1d, NormedConvTranspose1d

LAST_SLOPE = 0.01
"""Slope of the last activation: torch's default, unlike all the others."""
KERNEL_DEVIATION = 0.01


class ResBlock1(nn.Module):
    """Pairs of a dilated and a plain convolution."""

    def __init__(self, channels: int, size: int, dilations: list[int]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_same_length(channels, size, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_same_length(channels, size, 1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2):
            y = dilated(F.leaky_relu(x, LEAKY_SLOPE))
            x = x + plain(F.leaky_relu(y, LEAKY_SLOPE))
        return x


class ResBlock2(nn.Module):
    """Dilated convolutions alone; no official file has them."""

    def __init__(self, channels: int, size: int, dilations: list[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_same_length(channels, size, dilation) for dilation in dilations[:2])

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = x + conv(F.leaky_relu(x, LEAKY_SLOPE))
        return x


class Generator(nn.Module):
    """`dec`. One frame becomes the product of the rates in samples."""

    def __init__(
        self,
        *,
        channels: int,
        width: int,
        rates: list[int],
        kernels: list[int],
        resblock: str,
        resblock_kernels: list[int],
        resblock_dilations: list[list[int]],
        style: int,
        initial_deviation: float = KERNEL_DEVIATION,
    ) -> None:
        super().__init__()
        block = {"1": ResBlock1, "2": ResBlock2}[resblock]
        self.branches = len(resblock_kernels)
        self.hop = math.prod(rates)
        self.conv_pre = nn.Conv1d(channels, width, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for i, (rate, size) in enumerate(zip(rates, kernels)):
            out = width >> (i + 1)
            self.ups.append(NormedConvTranspose1d(width >> i, out, size, stride=rate, padding=(size - rate) // 2))
            for kernel, dilations in zip(resblock_kernels, resblock_dilations):
                self.resblocks.append(block(out, kernel, dilations))
        self.conv_post = nn.Conv1d(width >> len(rates), 1, 7, padding=3, bias=False)
        self.cond = nn.Conv1d(style, width, 1)
        for layer in [*self.ups.modules(), *self.resblocks.modules()]:
            if isinstance(layer, NormedConv1d | NormedConvTranspose1d):
                layer.reset(initial_deviation)

    def forward(self, z: Tensor, style: Tensor) -> Tensor:
        """z (B, C, T), style (B, G, 1) -> (B, 1, T * hop) in [-1, 1]."""
        x = self.conv_pre(z) + self.cond(style)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, LEAKY_SLOPE))
            blocks = self.resblocks[i * self.branches : (i + 1) * self.branches]
            x = sum(block(x) for block in blocks) / self.branches
        return self.conv_post(F.leaky_relu(x, LAST_SLOPE)).tanh()


def _same_length(channels: int, size: int, dilation: int) -> NormedConv1d:
    return NormedConv1d(channels, channels, size, dilation=dilation, padding=(size - 1) * dilation // 2)
