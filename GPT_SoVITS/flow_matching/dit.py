"""The diffusion transformer that predicts the velocity of a noisy mel (specification s2-v3v4 §6, after DiT and F5-TTS).

Attribute names are official keys below `cfm.estimator`. Shapes: B batch, T frames, M mel bands, C condition width,
D transformer width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.flow_matching.config import DiTConfig
from GPT_SoVITS.flow_matching.embedding import (
    NORM_EPSILON,
    ConditionEmbedding,
    InputEmbedding,
    Rotary,
    TimeEmbedding,
    rotate,
)


class Modulation(NamedTuple):
    """The modulation of every layer by time and step size."""

    blocks: Tensor
    """(depth, B or 1, 6 D)."""
    out: Tensor
    """(B or 1, 2 D)."""

    def row(self, index: int) -> Modulation:
        """Return the modulation at one time, for a whole batch."""
        return Modulation(self.blocks[:, index : index + 1], self.out[index : index + 1])


class _AdaptiveNorm(nn.Module):
    def __init__(self, dim: int, parts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, parts * dim)

    def forward(self, vector: Tensor) -> Tensor:
        """Project (B, D) to (B, parts * D)."""
        return self.linear(F.silu(vector))


class RotaryAttention(nn.Module):
    """Self-attention with rotary positions in the first head only, as the official weights were trained."""

    def __init__(self, dim: int, heads: int, dim_head: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dim_head = heads, dim_head
        inner = heads * dim_head
        self.to_q = nn.Linear(dim, inner)
        self.to_k = nn.Linear(dim, inner)
        self.to_v = nn.Linear(dim, inner)
        self.to_out = nn.ModuleList([nn.Linear(inner, dim), nn.Dropout(dropout)])

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Attend within (B, T, D) to the frames of a mask (B or 1, T); the result is zero where the mask is false."""
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        for rotated in (q, k):
            rotated[..., : self.dim_head] = rotate(rotated[..., : self.dim_head], angles)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))  # (B, h, T, d)
        attention_mask = None if mask is None else mask[:, None, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask).transpose(1, 2).flatten(2)
        for layer in self.to_out:
            out = layer(out)
        return out if mask is None else out * mask[..., None]


class _FeedForward(nn.Module):
    def __init__(self, dim: int, factor: int, dropout: float) -> None:
        super().__init__()
        expand = nn.Sequential(nn.Linear(dim, factor * dim), nn.GELU(approximate="tanh"))
        self.ff = nn.Sequential(expand, nn.Dropout(dropout), nn.Linear(factor * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.ff(x)


class DiTBlock(nn.Module):
    """Attention and feed-forward, each modulated by time and step size."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.attn_norm = _AdaptiveNorm(config.dim, 6)
        self.attn = RotaryAttention(config.dim, config.heads, config.dim_head, config.dropout)
        self.ff = _FeedForward(config.dim, config.ff_mult, config.dropout)

    def forward(self, x: Tensor, modulation: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Transform x (B, T, D) with a modulation (B or 1, 6 D)."""
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = modulation[:, None].chunk(6, dim=2)
        x = x + gate_1 * self.attn(_modulate(x, shift_1, scale_1), angles, mask)
        return x + gate_2 * self.ff(_modulate(x, shift_2, scale_2))


class DiT(nn.Module):
    """`cfm.estimator`."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        dim = config.dim
        self.time_embed = TimeEmbedding(config.time_features, dim)
        self.d_embed = TimeEmbedding(config.time_features, dim)
        self.text_embed = ConditionEmbedding(config.text_dim, config.conv_layers, config.conv_kernel)
        self.input_embed = InputEmbedding(config)
        self.rotary_embed = Rotary(config.dim_head)
        self.transformer_blocks = nn.ModuleList(DiTBlock(config) for _ in range(config.depth))
        self.norm_out = _AdaptiveNorm(dim, 2)
        self.proj_out = nn.Linear(dim, config.mel_dim)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.proj_out.weight.dtype

    def time_vector(self, time: Tensor, step: Tensor) -> Tensor:
        """Embed times (B,) and step sizes (B or 1,) as (B, D)."""
        return self.time_embed(time) + self.d_embed(step)

    def modulation(self, vector: Tensor) -> Modulation:
        """Project a time vector (B, D) to the modulation of every layer."""
        blocks = [block.get_submodule("attn_norm")(vector) for block in self.transformer_blocks]
        return Modulation(torch.stack(blocks), self.norm_out(vector))

    def embed_condition(self, condition: Tensor, mask: Tensor | None, *, compat: str | None = None) -> Tensor:
        """Embed a condition (B, C, T) as (B, T, C), the same for every time."""
        return self.text_embed(condition.transpose(1, 2).to(self.dtype), _padding_mask(mask, compat))

    def forward(
        self,
        x: Tensor,
        prompt: Tensor,
        text: Tensor,
        modulation: Modulation,
        mask: Tensor | None,
        *,
        compat: str | None = None,
    ) -> Tensor:
        """Predict the velocity of a noisy mel.

        Args:
            x: (B, M, T), the noisy mel.
            prompt: (B, M, T), the prompt's mel and zeros after it.
            text: (B, T, C), the embedded condition.
            modulation: of the time and the step size.
            mask: as `frame_mask` returns it.
            compat: "reference" lets padding act on the frames beside it, as upstream does.

        Returns:
            (B, T, M).
        """
        h = self.input_embed(x.transpose(1, 2), prompt.transpose(1, 2), text, _padding_mask(mask, compat))
        h = h.float()  # the residual stream stays float32, whatever dtype the layers have
        angles = self.rotary_embed(h.shape[1])
        for block, block_modulation in zip(self.transformer_blocks, modulation.blocks):
            h = block(h, block_modulation, angles, mask)
        scale, shift = modulation.out[:, None].chunk(2, dim=2)
        return self.proj_out(_modulate(h, shift, scale))


def frame_mask(lengths: Tensor | None, frames: int, device: torch.device) -> Tensor | None:
    """Return the mask (B, T) of lengths (B,); None where every frame is valid, which makes attention faster."""
    if lengths is None or bool((lengths >= frames).all()):
        return None
    return torch.arange(frames, device=device) < lengths.to(device)[:, None]


def _padding_mask(mask: Tensor | None, compat: str | None) -> Tensor | None:
    """Return the mask of the embeddings, which upstream does not mask."""
    return None if compat == "reference" else mask


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalize, scale and shift float32 values; the result has the dtype of the layers."""
    return (F.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON) * (1 + scale) + shift).to(shift.dtype)
