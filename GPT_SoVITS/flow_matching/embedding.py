"""The embeddings of the transformer of v3 and v4 (specification s2-v3v4 §6.1, §6.3-6.5); names are official keys.

Shapes: B batch, T frames, C condition width, D transformer width; masks are (B, T), true before each length. A mask
keeps padding out of layers that see more than one frame, so that a row in a batch is as it is alone; upstream has none
there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.flow_matching.config import DiTConfig

TIME_SCALE = 1000.0
LONGEST_PERIOD = 10_000.0
POSITIONS = 4096
"""Rows of the condition's position table; later frames share the last row."""
NORM_EPSILON = 1e-6


class TimeEmbedding(nn.Module):
    """Embeds a number in [0, 1]: the time (`time_embed`) or the step size (`d_embed`)."""

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.features = features
        first = nn.Linear(features, dim)
        self.time_mlp = nn.Sequential(first, nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, time: Tensor) -> Tensor:
        """Embed (B,) as (B, D). The angles reach a thousand radians, so they are float32."""
        half = self.features // 2
        rates = torch.exp(torch.arange(half, device=time.device) * (-math.log(LONGEST_PERIOD) / (half - 1)))
        angles = TIME_SCALE * time.float()[:, None] * rates
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        first = self.time_mlp[0]
        assert isinstance(first, nn.Linear)
        return self.time_mlp(waves.to(first.weight.dtype))


class ResponseNorm(nn.Module):
    """Global response normalization (ConvNeXt V2): a channel is weighted by its energy over all frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, channels))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Normalize (B, T, C'); the norms are float32."""
        seen = x.float() if mask is None else x.float() * mask[..., None]
        energy = torch.linalg.vector_norm(seen, dim=1, keepdim=True)  # (B, 1, C')
        share = energy / (energy.mean(dim=2, keepdim=True) + 1e-6)
        return (self.gamma * (x * share) + self.beta + x).to(x.dtype)


class ConvNeXtV2Block(nn.Module):
    """A depthwise convolution over time, then a feed-forward layer with response normalization."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.pwconv1 = nn.Linear(channels, 2 * channels)
        self.grn = ResponseNorm(2 * channels)
        self.pwconv2 = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Transform (B, T, C)."""
        if mask is not None:
            x = x * mask[..., None]
        y = self.dwconv(x.transpose(1, 2)).transpose(1, 2)
        y = self.grn(F.gelu(self.pwconv1(self.norm(y))), mask)
        return x + self.pwconv2(y)


class ConditionEmbedding(nn.Module):
    """`text_embed`: independent of noise and time, so a chunk computes it once."""

    def __init__(self, channels: int, layers: int, kernel: int) -> None:
        super().__init__()
        self.text_blocks = nn.ModuleList(ConvNeXtV2Block(channels, kernel) for _ in range(layers))

    def forward(self, condition: Tensor, mask: Tensor | None) -> Tensor:
        """Embed a condition (B, T, C)."""
        x = condition + position_table(condition.shape[1], condition.shape[2], condition.device).to(condition)
        for block in self.text_blocks:
            x = block(x, mask)
        return x


def position_table(frames: int, channels: int, device: torch.device) -> Tensor:
    """Return the positions (T, C) in float32: the cosines of every frame's angles, then their sines."""
    rates = LONGEST_PERIOD ** (-torch.arange(0, channels, 2, device=device).float() / channels)
    positions = torch.arange(frames, device=device).clamp(max=POSITIONS - 1).float()
    angles = positions[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class PositionConvolution(nn.Module):
    """`conv_pos_embed`: two grouped convolutions, which tell the frames their positions."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        convolutions = [nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups) for _ in range(2)]
        self.conv1d = nn.Sequential(convolutions[0], nn.Mish(), convolutions[1], nn.Mish())

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Embed (B, T, D)."""
        x = x.transpose(1, 2)
        for first in (0, 2):
            conv, activation = self.conv1d[first], self.conv1d[first + 1]
            x = activation(conv(x if mask is None else x * mask[:, None]))
        return x.transpose(1, 2)


class InputEmbedding(nn.Module):
    """`input_embed`: the noisy mel, the prompt's mel and the condition in one vector per frame."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(2 * config.mel_dim + config.text_dim, config.dim)
        self.conv_pos_embed = PositionConvolution(config.dim, config.position_kernel, config.position_groups)

    def forward(self, x: Tensor, prompt: Tensor, condition: Tensor, mask: Tensor | None) -> Tensor:
        """Embed a noisy mel and a prompt (B, T, M) with a condition (B, T, C) as (B, T, D)."""
        z = self.proj(torch.cat([x, prompt, condition], dim=2).to(self.proj.weight.dtype))
        return z + self.conv_pos_embed(z, mask)


class Rotary(nn.Module):
    """`rotary_embed`: angles of positions. The frequencies stay float32, whatever the dtype of the weights."""

    inv_freq: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", LONGEST_PERIOD ** (-torch.arange(0, width, 2).float() / width))

    def forward(self, frames: int) -> tuple[Tensor, Tensor]:
        """Return cosines and sines of all frames, each (T, width / 2) float32."""
        angles = torch.arange(frames, device=self.inv_freq.device).float()[:, None] * self.inv_freq.float()
        return angles.cos(), angles.sin()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move with the module, but keep the precision: an error here grows with the position."""
        frequencies = self.inv_freq
        super()._apply(fn, recurse)
        if not frequencies.is_meta:
            self.inv_freq = frequencies.to(self.inv_freq.device)
        return self


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate every pair of adjacent channels of (B, T, width) by its angle, in float32."""
    cos, sin = angles
    a, b = x.float().unflatten(2, (-1, 2)).unbind(dim=3)  # (B, T, width / 2)
    return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=3).flatten(2).to(x.dtype)
