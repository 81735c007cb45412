"""Joins waves that overlap where they agree best (SOLA; specification inference-pipeline §11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SEARCH = 320
"""Samples by which the later wave may be moved to the left to agree with the earlier one."""
SMALLEST_ENERGY = 1e-8


@dataclass(frozen=True, slots=True)
class Joined:
    """One wave made of many, and what became of each."""

    wave: Tensor
    """(N,)."""
    offsets: list[int]
    """Samples that were dropped from the beginning of every fragment but the first."""
    starts: list[int]
    """Where in the wave each fragment begins to be heard; a cut between two sentences belongs here."""


def join(fragments: Sequence[Tensor], overlap: int | Sequence[int], *, search: int = SEARCH) -> Joined:
    """Join waves (N,) from left to right; each begins with about the same `overlap` samples that the last ended with.

    `overlap` is one number, or one for every joint. Every join shortens the total by the overlap and the offset
    found. Where a fragment is shorter than the overlap, the overlap is as long as the fragment.
    """
    overlaps = [overlap] * (len(fragments) - 1) if isinstance(overlap, int) else overlap
    wave, offsets, starts = fragments[0], [], [0]
    done: list[Tensor] = []
    before = 0  # samples in `done`
    for fragment, wanted in zip(fragments[1:], overlaps, strict=True):
        shared = min(wanted, len(wave), len(fragment))
        kept, wave, offset = join_two(wave, fragment, shared, search=search)
        done.append(kept)
        before += len(kept)
        offsets.append(offset)
        starts.append(before)
    return Joined(torch.cat([*done, wave]), offsets, starts)


def join_two(earlier: Tensor, later: Tensor, overlap: int, *, search: int = SEARCH) -> tuple[Tensor, Tensor, int]:
    """(earlier without its overlap, later from the offset on and faded in over the earlier's end, the offset)."""
    if overlap == 0:
        return earlier, later, 0
    end = len(earlier) - overlap
    offset = best_offset(earlier[end:], later, search=search)
    return earlier[:end], crossfade(earlier[end:], later[offset:]), offset


def best_offset(tail: Tensor, later: Tensor, *, search: int = SEARCH) -> int:
    """How many samples to drop from `later` (N,) so that it continues `tail` (n,) best, 0 up to `search` or N - n."""
    size = len(tail)
    within = later[: size + min(search, len(later) - size)].float()[None, None]
    likeness = F.conv1d(within, tail.float()[None, None])
    energy = F.conv1d(within.square(), torch.ones_like(tail, dtype=torch.float32)[None, None])
    return int((likeness / (energy + SMALLEST_ENERGY).sqrt()).argmax())


def crossfade(tail: Tensor, later: Tensor) -> Tensor:
    """`later` (N,) with its first n samples faded in while `tail` (n,) fades out, by a Hann window: the weights of both
    sum to 1."""
    size = len(tail)
    window = torch.hann_window(2 * size, dtype=tail.dtype, device=tail.device)
    return torch.cat([window[:size] * later[:size] + window[size:] * tail, later[size:]])
