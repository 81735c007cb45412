"""Wrong tokens, for a training that must not trust them: those of a GPT are now and then not what a speaker said."""

from __future__ import annotations

import torch
from torch import Tensor

from GPT_SoVITS.sovits.quantizer import Quantizer

NEIGHBOURS = 32
"""Half of the wrong tokens sound like the right one: they are drawn from so many."""
RUN = 2
"""Tokens that go wrong together."""


class TokenNoise:
    """Replaces tokens; `most` is the greatest part of a row that may be wrong, 0 to leave all as they are."""

    def __init__(self, quantizer: Quantizer, most: float) -> None:
        table = quantizer.codebook.embed
        self.most = most
        count = min(NEIGHBOURS, len(table) - 1) + 1
        self.near = torch.cdist(table, table).topk(count, largest=False).indices[:, 1:].cpu()  # (bins, K)

    def __call__(self, codes: Tensor) -> Tensor:
        """(1, B, T) -> (1, B, T). Draws from torch's global generator."""
        rows, length = codes.shape[1:]
        rate = self.most * torch.rand(rows, 1)
        wrong = (torch.rand(rows, -(-length // RUN)) < rate).repeat_interleave(RUN, dim=1)[:, :length]
        near = self.near[codes[0].cpu(), torch.randint(self.near.shape[1], (rows, length))]
        far = codes.flatten().cpu()[torch.randint(codes.numel(), (rows, length))]
        other = torch.where(torch.rand(rows, length) < 0.5, near, far).to(codes)
        return torch.where(wrong.to(codes.device), other, codes[0])[None]
