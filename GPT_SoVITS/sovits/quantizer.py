"""One Euclidean codebook: content features to semantic tokens (specification s2-sovits §6). Names are official keys."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DECAY = 0.99
EPSILON = 1e-5
SEARCH_ROWS = 4096
"""Vectors compared with the codebook at a time, so that a long recording needs little memory."""


class Quantized(NamedTuple):
    vectors: Tensor
    """(B, D, T)."""
    codes: Tensor
    """(1, B, T); the first dimension counts codebooks."""
    commitment: Tensor
    """Mean squared distance to the codes, a scalar; zero in eval mode."""


class Codebook(nn.Module):
    embed: Tensor

    def __init__(self, width: int, bins: int) -> None:
        super().__init__()
        self.register_buffer("inited", torch.ones(1))
        self.register_buffer("cluster_size", torch.zeros(bins))
        self.register_buffer("embed", torch.randn(bins, width))
        self.register_buffer("embed_avg", self.embed.clone())

    def nearest(self, x: Tensor) -> Tensor:
        """x (N, D) -> (N,); in float32 whatever surrounds it, because half precision resolves near-ties otherwise."""
        table = self.embed.float()
        norms = table.square().sum(dim=1)
        rows = [
            (part.square().sum(dim=1, keepdim=True) - 2 * part @ table.T + norms).argmin(dim=1)
            for part in x.float().split(SEARCH_ROWS)
        ]
        return torch.cat(rows)

    @torch.no_grad()
    def update(self, x: Tensor, codes: Tensor) -> None:
        """Move the averages towards a batch: x (N, D), codes (N,)."""
        chosen = F.one_hot(codes, len(self.embed)).to(x)  # (N, K)
        self.cluster_size.lerp_(chosen.sum(dim=0), 1 - DECAY)
        self.embed_avg.lerp_(chosen.T @ x, 1 - DECAY)
        total = self.cluster_size.sum()
        smoothed = (self.cluster_size + EPSILON) / (total + len(self.embed) * EPSILON) * total
        self.embed.copy_(self.embed_avg / smoothed[:, None])


class _Layer(nn.Module):
    def __init__(self, width: int, bins: int) -> None:
        super().__init__()
        self._codebook = Codebook(width, bins)


class _Layers(nn.Module):
    def __init__(self, width: int, bins: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Layer(width, bins)])


class Quantizer(nn.Module):
    """`quantizer`. In training mode it learns by exponential averages; officially it stays in eval mode."""

    def __init__(self, width: int, bins: int) -> None:
        super().__init__()
        self.vq = _Layers(width, bins)

    @property
    def codebook(self) -> Codebook:
        return self.vq.layers[0]._codebook

    def forward(self, x: Tensor) -> Quantized:
        """x (B, D, T)."""
        with torch.autocast(x.device.type, enabled=False):
            codes = self.encode(x)
            vectors = self.decode(codes)
            if not self.training:
                return Quantized(vectors, codes, x.new_zeros(()))
            commitment = F.mse_loss(vectors.detach(), x)
            self.codebook.update(x.detach().transpose(1, 2).flatten(0, 1), codes.flatten())
            return Quantized(x + (vectors - x).detach(), codes, commitment)

    def encode(self, x: Tensor) -> Tensor:
        """x (B, D, T) -> (1, B, T)."""
        batch, _, time = x.shape
        return self.codebook.nearest(x.transpose(1, 2).flatten(0, 1)).view(1, batch, time)

    def decode(self, codes: Tensor) -> Tensor:
        """codes (1, B, T) -> (B, D, T)."""
        return F.embedding(codes[0], self.codebook.embed).transpose(1, 2)
