"""One Euclidean codebook: content features to semantic tokens (specification s2-sovits §6). Names are official keys."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DECAY = 0.99
EPSILON = 1e-5
SEARCH_ROWS = 4096
"""Vectors that are compared with the codebook at a time, so that a long recording needs little memory."""


class Quantized(NamedTuple):
    """The result of a quantization."""

    vectors: Tensor
    """(B, D, T)."""
    codes: Tensor
    """(1, B, T); the first dimension counts codebooks."""
    commitment: Tensor
    """Mean squared distance to the codes, a scalar; zero in eval mode."""


class Codebook(nn.Module):
    """The vectors of the codes, with the averages that they are learned by."""

    inited: Tensor
    cluster_size: Tensor
    """(bins,)."""
    embed: Tensor
    """(bins, D)."""
    embed_avg: Tensor
    """(bins, D)."""

    def __init__(self, width: int, bins: int) -> None:
        super().__init__()
        self.register_buffer("inited", torch.ones(1))
        self.register_buffer("cluster_size", torch.zeros(bins))
        vectors = torch.randn(bins, width)
        self.register_buffer("embed", vectors)
        self.register_buffer("embed_avg", vectors.clone())

    def nearest(self, x: Tensor) -> Tensor:
        """Return the codes (N,) nearest to x (N, D).

        In float32 under autocast, too, since half precision resolves near-ties otherwise.
        """
        table = self.embed.float()
        norms = table.square().sum(dim=1)
        rows = [
            (part.square().sum(dim=1, keepdim=True) - 2 * part @ table.T + norms).argmin(dim=1)
            for part in x.float().split(SEARCH_ROWS)
        ]
        return torch.cat(rows)

    @torch.no_grad()
    def update(self, x: Tensor, codes: Tensor) -> None:
        """Move the averages towards a batch of x (N, D) with codes (N,)."""
        one_hot = F.one_hot(codes, len(self.embed)).to(x)  # (N, K)
        self.cluster_size.lerp_(one_hot.sum(dim=0), 1 - DECAY)
        self.embed_avg.lerp_(one_hot.T @ x, 1 - DECAY)
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
    """`quantizer`. In training mode it learns by exponential moving averages; officially it stays in eval mode."""

    def __init__(self, width: int, bins: int) -> None:
        super().__init__()
        self.vq = _Layers(width, bins)

    @property
    def codebook(self) -> Codebook:
        """The only codebook."""
        layer = self.vq.layers[0]
        assert isinstance(layer, _Layer)
        return layer._codebook

    def forward(self, x: Tensor) -> Quantized:
        """Quantize x (B, D, T)."""
        with torch.autocast(x.device.type, enabled=False):
            codes = self.encode(x)
            vectors = self.decode(codes)
            if not self.training:
                return Quantized(vectors, codes, x.new_zeros(()))
            commitment = F.mse_loss(vectors.detach(), x)
            self.codebook.update(x.detach().transpose(1, 2).flatten(0, 1), codes.flatten())
            return Quantized(x + (vectors - x).detach(), codes, commitment)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (1, B, T) of x (B, D, T)."""
        batch, _, time = x.shape
        return self.codebook.nearest(x.transpose(1, 2).flatten(0, 1)).view(1, batch, time)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D, T) of codes (1, B, T)."""
        return F.embedding(codes[0], self.codebook.embed).transpose(1, 2)
