"""Losses of stage 2 (specification s2-sovits §12.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from GPT_SoVITS.sovits.discriminator import DiscriminatorOutput


def discriminator_loss(real: Sequence[DiscriminatorOutput], generated: Sequence[DiscriminatorOutput]) -> Tensor:
    """Return the least-squares loss: real towards one, generated towards zero, summed over the sub-discriminators."""
    parts = [(1 - r.logits.float()).square().mean() + g.logits.float().square().mean() for r, g in zip(real, generated)]
    return torch.stack(parts).sum()


def adversarial_loss(generated: Sequence[DiscriminatorOutput]) -> Tensor:
    """Return the generator's least-squares loss: generated towards one, summed over the sub-discriminators."""
    return torch.stack([(1 - g.logits.float()).square().mean() for g in generated]).sum()


def feature_loss(real: Sequence[DiscriminatorOutput], generated: Sequence[DiscriminatorOutput]) -> Tensor:
    """Return twice the sum of the mean absolute differences of all feature maps; the real side gives no gradient."""
    differences = [
        (a.detach().float() - b.float()).abs().mean()
        for r, g in zip(real, generated)
        for a, b in zip(r.features, g.features)
    ]
    return 2 * torch.stack(differences).sum()


def kl_loss(z_p: Tensor, logs_q: Tensor, mean_p: Tensor, logs_p: Tensor, mask: Tensor) -> Tensor:
    """Return the divergence of posterior and prior, summed over channels and averaged over the frames in the mask."""
    z_p, logs_q, mean_p, logs_p = z_p.float(), logs_q.float(), mean_p.float(), logs_p.float()
    kl = logs_p - logs_q - 0.5 + 0.5 * (z_p - mean_p).square() * (-2 * logs_p).exp()
    return (kl * mask).sum() / mask.sum()
