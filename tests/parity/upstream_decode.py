"""Upstream's streaming decoder (s2-sovits §17): every chunk reads the whole prefix again."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from GPT_SoVITS.sovits.encoder import Prior, stretch
from GPT_SoVITS.sovits.layers import length_mask
from GPT_SoVITS.sovits.model import SoVITS


class DecodedChunk(NamedTuple):
    wave: Tensor
    """(1, 1, N)."""
    latent: Tensor
    """(1, H, T'); its end is the next chunk's `overlap`."""
    prior: Prior


@torch.inference_mode()
def decode_chunk(
    model: SoVITS,
    codes: Tensor,
    text: Tensor,
    ge: Tensor,
    *,
    noise_scale: float = 0.5,
    speed: float = 1.0,
    result_length: int | None = None,
    overlap: Tensor | None = None,
    noise: Tensor | None = None,
) -> DecodedChunk:
    """codes (1, 1, T) are all tokens so far, `result_length` of which (the last) become audio.

    `overlap` (1, H, 2n) is the end of the previous chunk's latent, faded into the first n tokens of this one.
    """
    vectors = model.token_vectors(codes)
    mask = length_mask(torch.tensor([vectors.shape[2]]), vectors.shape[2])
    encoded = model.enc_p.encode_text(text, torch.tensor([text.shape[-1]]))
    y = model.enc_p.encode(vectors, mask, encoded, model.text_style(ge))
    if result_length is not None:
        y, mask = y[:, :, -2 * result_length :], mask[:, :, -2 * result_length :]
    if overlap is not None:
        y = _cross_fade(overlap, y)
    prior = model.enc_p.prior(stretch(y, speed), stretch(mask, speed, mode="nearest"))
    return DecodedChunk(model.dec(model.sample_latent(prior, ge, noise_scale, noise), ge), y, prior)


def _cross_fade(before: Tensor, after: Tensor) -> Tensor:
    """Blend the end of one chunk into the beginning of the next at constant power."""
    n = before.shape[-1]
    weights = torch.sin(torch.arange(2 * n) * math.pi / (2 * n)).to(after)
    blended = weights[:n] * after[:, :, :n] + weights[n:] * before
    return torch.cat([blended, after[:, :, n:]], dim=2)
