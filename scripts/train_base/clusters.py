"""k-means, from which the codebook of the semantic tokens begins."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDS = 30


def cluster(vectors: Tensor, count: int, seed: int) -> Tensor:
    """k-means: (N, D) -> (count, D) centres, in float32, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    centres = _spread(vectors, count, generator)
    previous = None
    for _ in range(ROUNDS):
        distances = _distances(vectors, centres)
        nearest = distances.argmin(dim=1)
        if previous is not None and torch.equal(nearest, previous):
            break
        previous = nearest
        chosen = F.one_hot(nearest, count).to(vectors)  # (N, K)
        sizes = chosen.sum(dim=0)
        empty = sizes == 0
        centres = torch.where(empty[:, None], centres, chosen.T @ vectors / sizes.clamp(min=1)[:, None])
        if empty.any():  # a centre that nothing chose moves to what is served worst
            worst = distances.gather(1, nearest[:, None])[:, 0].topk(int(empty.sum())).indices
            centres[empty] = vectors[worst]
    return centres


def _spread(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """First centres, each drawn in proportion to its squared distance from those before it (k-means++)."""
    chosen = [int(torch.randint(len(vectors), (1,), generator=generator))]
    nearest = _distances(vectors, vectors[chosen])[:, 0]
    while len(chosen) < count:
        weights = nearest.clamp(min=0) + 1e-12
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
        nearest = torch.minimum(nearest, _distances(vectors, vectors[chosen[-1:]])[:, 0])
    return vectors[chosen].clone()


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """(N, D), (K, D) -> (N, K) squared."""
    return a.square().sum(dim=1, keepdim=True) - 2 * a @ b.T + b.square().sum(dim=1)
