"""Cross-fade waves that overlap where they agree best (SOLA; specification inference-pipeline §11)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SEARCH = 320
"""Samples by which the later wave may be moved to the left to agree with the earlier one."""
MIN_ENERGY = 1e-8


def best_offset(tail: Tensor, later: Tensor, *, search: int = SEARCH) -> int:
    """Find how many samples to drop from `later` (N,) so that it continues `tail` (n,) best: 0 up to `search` or N - n.

    Best is the largest cross-correlation, normalized by the energy of the later wave.
    """
    size = len(tail)
    window = later[: size + min(search, len(later) - size)].float()[None, None]
    correlation = F.conv1d(window, tail.float()[None, None])
    energy = F.conv1d(window.square(), torch.ones_like(tail, dtype=torch.float32)[None, None])
    return int((correlation / (energy + MIN_ENERGY).sqrt()).argmax())


def crossfade(tail: Tensor, later: Tensor) -> Tensor:
    """Fade the first n samples of `later` (N,) in while `tail` (n,) fades out -> (N,).

    The weights are the halves of a Hann window, which sum to 1.
    """
    size = len(tail)
    window = torch.hann_window(2 * size, dtype=tail.dtype, device=tail.device)
    return torch.cat([window[:size] * later[:size] + window[size:] * tail, later[size:]])
