"""A generator that starts from nothing, with a codebook made for the recordings at hand.

An official file brings its own codebook and content projection. A recipe without one finds its semantic tokens by
clustering content features; the network then learns what the clusters sound like.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.sovits.model import SoVITS

MOST_VECTORS = 40_000
"""Vectors that are clustered, 27 minutes of sound; of more, an even sample is."""
ROUNDS = 30


def initial_generator(config: dict[str, Any], features: Sequence[Tensor], seed: int) -> SoVITS:
    """A new model whose tokens are the clusters of `features`, each (1, D, T) at 50 frames a second.

    Deterministic in `seed`, which also draws the network's weights. Raises ModelError("dataset_too_small").
    """
    features = [feature for feature in features if feature.shape[-1] >= 2]
    if not features:
        raise ModelError("dataset_too_small", "There is no sound to find semantic tokens in.")
    torch.manual_seed(seed)
    model = SoVITS.from_config(config).eval()
    _project_pairs(model, features)
    with torch.inference_mode():
        vectors = [model.ssl_proj(feature.float())[0].T for feature in features]
    _fill_codebook(model, _sample(torch.cat(vectors)), seed)
    return model


@torch.no_grad()
def _project_pairs(model: SoVITS, features: Sequence[Tensor]) -> None:
    """`ssl_proj` becomes the average of two frames, every dimension scaled to unit deviation: a few dimensions of a
    speech encoder are so large that no other would count in a distance."""
    frames = torch.cat([f[0].float() for f in features], dim=1)  # (D, N)
    mean, deviation = frames.mean(dim=1), frames.std(dim=1).clamp(min=1e-3)
    model.ssl_proj.weight.copy_(_rounded(0.5 / deviation).diag()[:, :, None].expand_as(model.ssl_proj.weight))
    model.ssl_proj.bias.copy_(_rounded(-mean / deviation))


@torch.no_grad()
def _fill_codebook(model: SoVITS, vectors: Tensor, seed: int) -> None:
    codebook = model.quantizer.codebook
    bins = len(codebook.embed)
    centres = cluster(vectors, min(bins, len(vectors)), seed)
    centres = centres[torch.arange(bins) % len(centres)]  # rows beyond the first of their kind are never chosen
    codebook.embed.copy_(_rounded(centres))
    counts = torch.bincount(codebook.nearest(vectors), minlength=bins).float()
    codebook.cluster_size.copy_(counts)
    codebook.embed_avg.copy_(_rounded(codebook.embed * counts[:, None]))
    codebook.inited.fill_(1)


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


def _sample(vectors: Tensor) -> Tensor:
    if len(vectors) <= MOST_VECTORS:
        return vectors
    return vectors[torch.linspace(0, len(vectors) - 1, MOST_VECTORS).long()]


def _rounded(x: Tensor) -> Tensor:
    """To what a half-precision file can hold, so that a stored model finds the same tokens."""
    return x.half().float()
