"""HiFi-GAN, the vocoder of v4 (Kong et al. 2020; specification s2-v3v4 §11). Names are official keys."""

from __future__ import annotations

import operator
from functools import reduce

import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.sovits.generator import LAST_SLOPE, ResBlock1
from GPT_SoVITS.sovits.layers import LEAKY_SLOPE, fold_weight_norm
from GPT_SoVITS.vocoders.sizes import VocoderSizes

SAMPLE_RATE = 48_000


class HiFiGAN(nn.Module):
    """For inference: plain kernels, as in the official file, which has no weight norm and no speaker."""

    def __init__(self, sizes: VocoderSizes, *, sample_rate: int = SAMPLE_RATE) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.hop = sizes.hop
        self.context = sizes.context(activation_reach=0)
        self.branches = len(sizes.block_kernels)
        self.conv_pre = nn.Conv1d(sizes.mels, sizes.width, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for i, (rate, size) in enumerate(zip(sizes.rates, sizes.kernels)):
            out = sizes.width >> (i + 1)
            up = nn.ConvTranspose1d(sizes.width >> i, out, size, stride=rate, padding=(size - rate) // 2)
            self.ups.append(up)
            for kernel, dilations in zip(sizes.block_kernels, sizes.block_dilations):
                self.resblocks.append(ResBlock1(out, kernel, list(dilations)))
        fold_weight_norm(self.resblocks)
        self.conv_post = nn.Conv1d(sizes.width >> len(sizes.rates), 1, 7, padding=3, bias=sizes.final_bias)

    def forward(self, mel: Tensor) -> Tensor:
        """Convert mel (B, M, T), the natural logarithm of magnitudes -> (B, 1, T * hop) in [-1, 1]."""
        x: Tensor = self.conv_pre(mel)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, LEAKY_SLOPE))
            blocks = self.resblocks[i * self.branches : (i + 1) * self.branches]
            x = reduce(operator.add, (block(x) for block in blocks)) / self.branches
        x = self.conv_post(F.leaky_relu(x, LAST_SLOPE))
        return x.tanh()
