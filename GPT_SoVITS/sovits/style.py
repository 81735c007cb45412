"""Style encoder: a reference spectrogram to one vector (specification s2-sovits §7). Names are official keys.

Shapes: B batch, F bins, T frames, H hidden channels, G width of a style; masks are (B, 1, T).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class _Conv(nn.Module):
    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, 2 * channels, size, padding=size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _GatedConv(nn.Module):
    def __init__(self, channels: int, size: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = _Conv(channels, size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(F.glu(self.conv1(x), dim=1))


class _SelfAttention(nn.Module):
    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.w_qs = nn.Linear(channels, channels)
        self.w_ks = nn.Linear(channels, channels)
        self.w_vs = nn.Linear(channels, channels)
        self.fc = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attend within (B, T, H)."""
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.w_qs, self.w_ks, self.w_vs)
        )
        # Scaled by the width of the model, not of a head, as the official weights were trained.
        scores = q @ k.transpose(-1, -2) / math.sqrt(x.shape[-1])  # (B, h, T, T)
        scores = scores.masked_fill(mask[:, :, None] == 0, -torch.inf)
        out = (self.dropout(scores.softmax(dim=-1)) @ v).transpose(1, 2).flatten(2)
        return self.dropout(self.fc(out)) + x


class StyleEncoder(nn.Module):
    """`ref_enc`."""

    def __init__(
        self, bins: int, hidden: int, style: int, *, heads: int = 2, size: int = 5, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.bins = bins
        self.spectral = nn.Sequential(
            _Linear(bins, hidden), nn.Mish(), nn.Dropout(dropout),
            _Linear(hidden, hidden), nn.Mish(), nn.Dropout(dropout),
        )  # fmt: skip
        self.temporal = nn.Sequential(_GatedConv(hidden, size, dropout), _GatedConv(hidden, size, dropout))
        self.slf_attn = _SelfAttention(hidden, heads, dropout)
        self.fc = _Linear(hidden, style)

    def forward(self, spec: Tensor, mask: Tensor) -> Tensor:
        """Encode the lowest bins of magnitudes (B, F, T) as a style (B, G, 1)."""
        x = (spec[:, : self.bins] * mask).transpose(1, 2)  # (B, T, R)
        x = self.spectral(x).transpose(1, 2)
        x = (self.temporal(x) * mask).transpose(1, 2)  # (B, T, H)
        x = self.fc(self.slf_attn(x, mask))  # (B, T, G)
        weights = mask.float() / mask.float().sum(dim=2, keepdim=True)  # (B, 1, T)
        return (weights.transpose(1, 2) * x).sum(dim=1)[:, :, None]
