"""Wrong tokens, for a training that must not trust them: those of a GPT are now and then not what a speaker said."""

from __future__ import annotations

import torch
from torch import Tensor

from GPT_SoVITS.sovits.quantizer import Quantizer

NEIGHBOURS = 32
"""Half of the wrong tokens sound like the right one: they are drawn from its so many nearest ones."""
RUN = 2
"""Adjacent tokens that are replaced together."""


class TokenNoise:
    """Replaces random tokens of a row by wrong ones."""

    def __init__(self, quantizer: Quantizer, max_share: float) -> None:
        """Replace up to `max_share` of a row's tokens; 0 replaces none."""
        table = quantizer.codebook.embed
        self.max_share = max_share
        count = min(NEIGHBOURS, len(table) - 1) + 1
        self.near = torch.cdist(table, table).topk(count, largest=False).indices[:, 1:].cpu()  # (bins, K)

    def __call__(self, codes: Tensor) -> Tensor:
        """Replace tokens of (1, B, T). Draws from the global random generator."""
        rows, length = codes.shape[1:]
        rate = self.max_share * torch.rand(rows, 1)
        wrong = (torch.rand(rows, -(-length // RUN)) < rate).repeat_interleave(RUN, dim=1)[:, :length]
        near = self.near[codes[0].cpu(), torch.randint(self.near.shape[1], (rows, length))]
        far = codes.flatten().cpu()[torch.randint(codes.numel(), (rows, length))]
        other = torch.where(torch.rand(rows, length) < 0.5, near, far).to(codes)
        return torch.where(wrong.to(codes.device), other, codes[0])[None]
