"""Generator: latent frames to a waveform (specification s2-sovits §9). Names are official keys."""

from __future__ import annotations

import math
import operator
from functools import reduce

import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.sovits.layers import LEAKY_SLOPE, NormedConv1d, NormedConvTranspose1d, length_mask

LAST_SLOPE = 0.01
"""Slope of the last activation: torch's default, unlike all the others."""
KERNEL_DEVIATION = 0.01


class ResBlock1(nn.Module):
    """Pairs of a dilated and a plain convolution."""

    def __init__(self, channels: int, size: int, dilations: list[int]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_same_length(channels, size, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_same_length(channels, size, 1) for _ in dilations)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2):
            y = dilated(_rectified(x, mask))
            x = plain(_rectified(y, mask, inplace=True)).add_(x)
        return x


class ResBlock2(nn.Module):
    """Dilated convolutions alone; no official file has them."""

    def __init__(self, channels: int, size: int, dilations: list[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_same_length(channels, size, dilation) for dilation in dilations[:2])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for conv in self.convs:
            x = conv(_rectified(x, mask)).add_(x)
        return x


class Generator(nn.Module):
    """`dec`. One frame becomes the product of the rates in samples.

    Speaking asks three things of a `dec`: `hop`, `reach`, and that its rows do not hear their padding.
    """

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
    ) -> None:
        super().__init__()
        block = {"1": ResBlock1, "2": ResBlock2}[resblock]
        self.branches = len(resblock_kernels)
        self.hop = math.prod(rates)
        self.growth = list(zip(rates, kernels))
        self.reach = _reach(rates, kernels, resblock, resblock_kernels, resblock_dilations)
        """Frames to either side that a sample hears."""
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
                layer.reset(KERNEL_DEVIATION)

    def forward(self, z: Tensor, style: Tensor, lengths: Tensor | None = None) -> Tensor:
        """z (B, C, T), style (B, G, 1) -> (B, 1, T * hop) in [-1, 1].

        `lengths` (B,) are the frames of each row of a padded batch: every row then sounds as it does alone, where
        without them a shorter row's end hears the padding (§25.6). What follows a row's end is no sound.
        """
        mask = None if lengths is None else length_mask(lengths, z.shape[-1]).to(z)
        x = self.conv_pre(z) + self.cond(style)
        for i, (up, (rate, size)) in enumerate(zip(self.ups, self.growth)):
            x = up(_rectified(x, mask))
            if lengths is not None:
                lengths = (lengths - 1) * rate + size - 2 * ((size - rate) // 2)
                mask = length_mask(lengths, x.shape[-1]).to(z)
            blocks = self.resblocks[i * self.branches : (i + 1) * self.branches]
            x = reduce(operator.add, (block(x, mask) for block in blocks)) / self.branches
        return self.conv_post(_rectified(x, mask, LAST_SLOPE)).tanh()


def _rectified(x: Tensor, mask: Tensor | None, slope: float = LEAKY_SLOPE, *, inplace: bool = False) -> Tensor:
    """What a convolution reads: nothing beyond a row's end, as if the row ended there.

    `inplace` spares memory where `x` has just come out of a convolution and nobody else holds it.
    """
    x = F.leaky_relu(x, slope, inplace)
    return x if mask is None else x * mask


def _reach(rates: list[int], kernels: list[int], resblock: str, sizes: list[int], dilations: list[list[int]]) -> int:
    plain = 1 if resblock == "1" else 0  # the first kind has a second convolution behind each dilated one
    block = max(size // 2 * sum(d + plain for d in row) for size, row in zip(sizes, dilations))
    frames, scale = 3.0, 1
    for rate, size in zip(rates, kernels):
        frames += size / rate / scale
        scale *= rate
        frames += block / scale
    return math.ceil(frames + 3 / scale)


def _same_length(channels: int, size: int, dilation: int) -> NormedConv1d:
    return NormedConv1d(channels, channels, size, dilation=dilation, padding=(size - 1) * dilation // 2)
