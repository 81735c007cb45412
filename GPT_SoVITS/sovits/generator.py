"""Generator: latent frames to a waveform, after HiFi-GAN (specification s2-sovits §9). Names are official keys.

Shapes: B batch, C latent channels, T frames, G width of a style; masks are (B, 1, T).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.sovits.config import SoVITSConfig
from GPT_SoVITS.sovits.layers import LEAKY_SLOPE, NormedConv1d, NormedConvTranspose1d, length_mask

LAST_SLOPE = 0.01
"""Slope of the last activation: torch's default, unlike that of the others."""
KERNEL_DEVIATION = 0.01


class ResBlock1(nn.Module):
    """Pairs of a dilated and a plain convolution."""

    def __init__(self, channels: int, size: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_same_length(channels, size, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_same_length(channels, size, 1) for _ in dilations)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform (B, channels, T)."""
        for dilated, plain in zip(self.convs1, self.convs2):
            y = dilated(_activate(x, mask))
            x = plain(_activate(y, mask, inplace=True)).add_(x)
        return x


class ResBlock2(nn.Module):
    """Dilated convolutions alone; no official file has them."""

    def __init__(self, channels: int, size: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_same_length(channels, size, dilation) for dilation in dilations[:2])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform (B, channels, T)."""
        for conv in self.convs:
            x = conv(_activate(x, mask)).add_(x)
        return x


class Generator(nn.Module):
    """`dec`. One frame becomes the product of the rates in samples.

    Synthesis needs three things of a `dec`: `hop`, `reach`, and that padding does not influence the rows.
    """

    def __init__(self, config: SoVITSConfig) -> None:
        super().__init__()
        rates, kernels, width = config.upsample_rates, config.upsample_kernel_sizes, config.upsample_initial_channel
        block: type[ResBlock1 | ResBlock2] = ResBlock1 if config.resblock == "1" else ResBlock2
        self.branches = len(config.resblock_kernel_sizes)
        self.hop = math.prod(rates)
        """Samples per frame."""
        self.upsampling = list(zip(rates, kernels))
        self.reach = _receptive_field(config)
        """Frames to either side that a sample depends on."""
        self.conv_pre = nn.Conv1d(config.inter_channels, width, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for i, (rate, size) in enumerate(zip(rates, kernels)):
            out = width >> (i + 1)
            self.ups.append(NormedConvTranspose1d(width >> i, out, size, stride=rate, padding=(size - rate) // 2))
            for kernel, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes):
                self.resblocks.append(block(out, kernel, dilations))
        self.conv_post = nn.Conv1d(width >> len(rates), 1, 7, padding=3, bias=False)
        self.cond = nn.Conv1d(config.gin_channels, width, 1)
        for layer in [*self.ups.modules(), *self.resblocks.modules()]:
            if isinstance(layer, NormedConv1d | NormedConvTranspose1d):
                layer.reset(KERNEL_DEVIATION)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.conv_pre.weight.dtype

    def forward(self, z: Tensor, style: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Generate a waveform, in the dtype of the weights.

        Args:
            z: (B, C, T) latent.
            style: (B, G, 1).
            lengths: (B,) frames of each row of a padded batch: every row is then as it is alone, where without them
                padding influences the end of a shorter row (§25.6). Samples after a row's end are undefined.

        Returns:
            (B, 1, T * hop) in [-1, 1].
        """
        z, style = z.to(self.dtype), style.to(self.dtype)
        mask = None if lengths is None else length_mask(lengths, z.shape[-1]).to(z)
        x = self.conv_pre(z) + self.cond(style)
        for i, (up, (rate, size)) in enumerate(zip(self.ups, self.upsampling)):
            x = up(_activate(x, mask))
            if lengths is not None:
                lengths = (lengths - 1) * rate + size - 2 * ((size - rate) // 2)
                mask = length_mask(lengths, x.shape[-1]).to(z)
            blocks = self.resblocks[i * self.branches : (i + 1) * self.branches]
            x = reduce(operator.add, (block(x, mask) for block in blocks)) / self.branches
        return self.conv_post(_activate(x, mask, LAST_SLOPE)).tanh()


def _activate(x: Tensor, mask: Tensor | None, slope: float = LEAKY_SLOPE, *, inplace: bool = False) -> Tensor:
    """Apply a leaky ReLU and set the padding to zero, as if the row ended there.

    `inplace` saves memory where `x` has just come out of a convolution and nothing else holds it.
    """
    x = F.leaky_relu(x, slope, inplace)
    return x if mask is None else x * mask


def _receptive_field(config: SoVITSConfig) -> int:
    """Return how many frames to either side a sample depends on."""
    plain = 1 if config.resblock == "1" else 0  # the first kind has a second convolution behind each dilated one
    blocks = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes)
    block = max(size // 2 * sum(d + plain for d in dilations) for size, dilations in blocks)
    frames, scale = 3.0, 1
    for rate, size in zip(config.upsample_rates, config.upsample_kernel_sizes):
        frames += size / rate / scale
        scale *= rate
        frames += block / scale
    return math.ceil(frames + 3 / scale)


def _same_length(channels: int, size: int, dilation: int) -> NormedConv1d:
    return NormedConv1d(channels, channels, size, dilation=dilation, padding=(size - 1) * dilation // 2)
