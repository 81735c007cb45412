"""What the transformer of v3 and v4 reads (specification s2-v3v4 §6.1, §6.3-6.5); attribute names are official keys.

Shapes: B batch, T frames, C condition width, D transformer width; masks are (B, T), true before each length. A mask
keeps padding out of what sees more than one frame, so that a row in a batch is what it is alone; the original has
none there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TIME_SCALE = 1000.0
LONGEST_PERIOD = 10_000.0
POSITIONS = 4096
"""Rows of the condition's position table; every later frame has the last row."""
NORM_EPSILON = 1e-6


class TimeEmbedding(nn.Module):
    """A number in [0, 1] to a vector: the time (`time_embed`) or the step size (`d_embed`)."""

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.features = features
        self.time_mlp = nn.Sequential(nn.Linear(features, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, time: Tensor) -> Tensor:
        """time (B,) -> (B, D). The angles reach a thousand radians, so they are float32."""
        half = self.features // 2
        rates = torch.exp(torch.arange(half, device=time.device) * (-math.log(LONGEST_PERIOD) / (half - 1)))
        angles = TIME_SCALE * time.float()[:, None] * rates
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        return self.time_mlp(waves.to(self.time_mlp[0].weight.dtype))


class ResponseNorm(nn.Module):
    """Global response normalisation (ConvNeXt V2): a channel counts by its energy over all frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, channels))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, C'); the norms are float32."""
        seen = x.float() if mask is None else x.float() * mask[..., None]
        energy = torch.linalg.vector_norm(seen, dim=1, keepdim=True)  # (B, 1, C')
        share = energy / (energy.mean(dim=2, keepdim=True) + 1e-6)
        return (self.gamma * (x * share) + self.beta + x).to(x.dtype)


class ConvNeXtV2Block(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.pwconv1 = nn.Linear(channels, 2 * channels)
        self.grn = ResponseNorm(2 * channels)
        self.pwconv2 = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, C)."""
        if mask is not None:
            x = x * mask[..., None]
        y = self.dwconv(x.transpose(1, 2)).transpose(1, 2)
        y = self.grn(F.gelu(self.pwconv1(self.norm(y))), mask)
        return x + self.pwconv2(y)


class ConditionEmbedding(nn.Module):
    """`text_embed`: depends neither on the noise nor on the time, so a chunk computes it once."""

    def __init__(self, channels: int, layers: int, kernel: int) -> None:
        super().__init__()
        self.text_blocks = nn.ModuleList(ConvNeXtV2Block(channels, kernel) for _ in range(layers))

    def forward(self, condition: Tensor, mask: Tensor | None) -> Tensor:
        """condition (B, T, C) -> (B, T, C)."""
        x = condition + position_table(condition.shape[1], condition.shape[2], condition.device).to(condition)
        for block in self.text_blocks:
            x = block(x, mask)
        return x


def position_table(frames: int, channels: int, device: torch.device) -> Tensor:
    """(T, C) float32: the cosines of every frame's angles, then their sines."""
    rates = LONGEST_PERIOD ** (-torch.arange(0, channels, 2, device=device).float() / channels)
    positions = torch.arange(frames, device=device).clamp(max=POSITIONS - 1).float()
    angles = positions[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class PositionConvolution(nn.Module):
    """`conv_pos_embed`: two grouped convolutions, from which the frames learn where they are."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        options = {"padding": kernel // 2, "groups": groups}
        self.conv1d = nn.Sequential(
            nn.Conv1d(dim, dim, kernel, **options), nn.Mish(), nn.Conv1d(dim, dim, kernel, **options), nn.Mish()
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, D)."""
        x = x.transpose(1, 2)
        for conv, activation in (self.conv1d[:2], self.conv1d[2:]):
            x = activation(conv(x if mask is None else x * mask[:, None]))
        return x.transpose(1, 2)


class InputEmbedding(nn.Module):
    """`input_embed`: the noisy mel, the prompt's mel and the condition in one vector a frame."""

    def __init__(self, mel: int, condition: int, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.proj = nn.Linear(2 * mel + condition, dim)
        self.conv_pos_embed = PositionConvolution(dim, kernel, groups)

    def forward(self, x: Tensor, prompt: Tensor, condition: Tensor, mask: Tensor | None) -> Tensor:
        """x, prompt (B, T, M), condition (B, T, C) -> (B, T, D)."""
        z = self.proj(torch.cat([x, prompt, condition], dim=2).to(self.proj.weight.dtype))
        return z + self.conv_pos_embed(z, mask)


class Rotary(nn.Module):
    """`rotary_embed`: angles of positions. The frequencies stay float32 as they were stored, whatever the weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", LONGEST_PERIOD ** (-torch.arange(0, width, 2).float() / width))

    def forward(self, frames: int) -> tuple[Tensor, Tensor]:
        """(cosines, sines), each (T, width / 2) float32."""
        angles = torch.arange(frames, device=self.inv_freq.device).float()[:, None] * self.inv_freq.float()
        return angles.cos(), angles.sin()

    def _apply(self, fn, recurse: bool = True):
        """Move with the module, but keep the precision: an error here grows with the position."""
        kept = self.inv_freq
        super()._apply(fn, recurse)
        if not kept.is_meta:
            self.inv_freq = kept.to(self.inv_freq.device)
        return self


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """x (B, T, width): every pair of neighbouring channels turned by its angle, in float32."""
    cos, sin = angles
    a, b = x.float().unflatten(2, (-1, 2)).unbind(dim=3)  # (B, T, width / 2)
    return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=3).flatten(2).to(x.dtype)
