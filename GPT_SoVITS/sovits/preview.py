"""Audio that a model in training makes of a recording's own tokens, phonemes and style: for listening."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.sovits.layers import length_mask
from GPT_SoVITS.sovits.model import SoVITS, SoVITSBatch, frame_noise

NOISE_SCALE = 0.5


class Preview(NamedTuple):
    """Synthesized recordings."""

    latent: Tensor
    """(B, C, T), what the generator reads."""
    wave: Tensor
    """(B, 1, T * hop)."""


@torch.no_grad()
def preview(model: SoVITS, batch: SoVITSBatch, *, noise: Tensor | None = None, seed: int = 0) -> Preview:
    """Synthesize a batch; `noise` (B, C, T) replaces that of `seed`.

    The model stays in its mode, and the global random generator is not used.
    """
    was_training = model.training
    model.eval()
    try:
        mask = length_mask(batch.spec_lengths, batch.spec.shape[-1])
        ge = model.batch_style(batch.spec, mask, batch.speaker)
        quantized, _ = model.quantize(batch)
        prior = model.enc_p(quantized, batch.spec_lengths, batch.text, batch.text_lengths, model.text_style(ge))
        if noise is None:
            rows, channels, frames = prior.mean.shape
            seeds = [SeededNoise(seed + row) for row in range(rows)]
            noise = torch.cat([frame_noise(row, 0, frames, channels, prior.mean.device) for row in seeds])
        latent = model.sample_latent(prior, ge, NOISE_SCALE, noise)
        return Preview(latent, model.dec(latent, ge))
    finally:
        model.train(was_training)
