"""Posterior encoder and flow (specification s2-sovits §8). Names are official keys."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from GPT_SoVITS.sovits.layers import GatedStack


class Posterior(NamedTuple):
    """What the posterior encoder returns."""

    z: Tensor
    """(B, C, T), a sample."""
    mean: Tensor
    """(B, C, T)."""
    logs: Tensor
    """(B, C, T), log of the standard deviation."""


class PosteriorEncoder(nn.Module):
    """`enc_q`: encodes the spectrogram to the latent that the generator learns from; in training only."""

    def __init__(self, bins: int, channels: int, hidden: int, layers: int, style: int) -> None:
        super().__init__()
        self.pre = nn.Conv1d(bins, hidden, 1)
        self.enc = GatedStack(hidden, layers, style)
        self.proj = nn.Conv1d(hidden, 2 * channels, 1)

    def forward(self, spec: Tensor, mask: Tensor, style: Tensor, noise: Tensor | None = None) -> Posterior:
        """Encode a spectrogram (B, F, T) with a style (B, G, 1); `noise` (B, C, T) replaces the normal draw."""
        x = self.enc(self.pre(spec) * mask, mask, style)
        mean, logs = (self.proj(x) * mask).chunk(2, dim=1)
        noise = torch.randn_like(mean) if noise is None else noise
        return Posterior((mean + noise * logs.exp()) * mask, mean, logs)


class Coupling(nn.Module):
    """Shifts one half of the channels by a function of the other."""

    def __init__(self, channels: int, hidden: int, layers: int, style: int) -> None:
        super().__init__()
        self.pre = nn.Conv1d(channels // 2, hidden, 1)
        self.enc = GatedStack(hidden, layers, style)
        self.post = nn.Conv1d(hidden, channels // 2, 1)
        nn.init.zeros_(self.post.weight)
        assert self.post.bias is not None
        nn.init.zeros_(self.post.bias)

    def forward(self, x: Tensor, mask: Tensor, style: Tensor, *, reverse: bool = False) -> Tensor:
        """Shift (B, C, T), or shift it back."""
        fixed, shifted = x.chunk(2, dim=1)
        shift = self.post(self.enc(self.pre(fixed) * mask, mask, style)) * mask
        shifted = (shifted - shift) * mask if reverse else shift + shifted * mask
        return torch.cat([fixed, shifted], dim=1)


class Flip(nn.Module):
    """Reverses the channels, so that the next coupling moves the other half."""

    def forward(self, x: Tensor, mask: Tensor, style: Tensor, *, reverse: bool = False) -> Tensor:
        """Flip (B, C, T)."""
        return x.flip(1)


class Flow(nn.Module):
    """`flow`; even entries of `flows` are couplings, odd ones flips."""

    def __init__(self, channels: int, hidden: int, couplings: int, layers: int, style: int) -> None:
        super().__init__()
        self.reach = couplings * layers * (GatedStack.SIZE // 2)
        """Receptive field: frames to either side that one frame depends on."""
        self.flows = nn.ModuleList()
        for _ in range(couplings):
            self.flows.extend([Coupling(channels, hidden, layers, style), Flip()])

    def forward(self, x: Tensor, mask: Tensor, style: Tensor, *, reverse: bool = False) -> Tensor:
        """Transform the posterior latent (B, C, T) to that of the prior, or back."""
        for step in reversed(self.flows) if reverse else self.flows:
            x = step(x, mask, style, reverse=reverse)
        return x


class IdentityFlow(nn.Module):
    """No flow: the latent of the prior is what the generator reads."""

    reach = 0
