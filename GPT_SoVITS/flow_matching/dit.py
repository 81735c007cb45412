"""The transformer that says in which direction a noisy mel flows (specification s2-v3v4 §6, after DiT and F5-TTS).

Attribute names are official keys below `cfm.estimator`. Shapes: B batch, T frames, M mel bands, C condition width,
D transformer width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.flow_matching.embedding import (
    NORM_EPSILON,
    ConditionEmbedding,
    InputEmbedding,
    Rotary,
    TimeEmbedding,
    rotate,
)


class Modulation(NamedTuple):
    """How time and step size bend every layer."""

    blocks: Tensor
    """(depth, B or 1, 6 D)."""
    out: Tensor
    """(B or 1, 2 D)."""

    def row(self, index: int) -> Modulation:
        """That of one time, for a whole batch."""
        return Modulation(self.blocks[:, index : index + 1], self.out[index : index + 1])


class _AdaptiveNorm(nn.Module):
    def __init__(self, dim: int, parts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, parts * dim)

    def forward(self, vector: Tensor) -> Tensor:
        """(B, D) -> (B, parts * D)."""
        return self.linear(F.silu(vector))


class RotaryAttention(nn.Module):
    """Self-attention in which only the first head knows positions: so the official weights were trained."""

    def __init__(self, dim: int, heads: int, dim_head: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dim_head = heads, dim_head
        inner = heads * dim_head
        self.to_q = nn.Linear(dim, inner)
        self.to_k = nn.Linear(dim, inner)
        self.to_v = nn.Linear(dim, inner)
        self.to_out = nn.ModuleList([nn.Linear(inner, dim), nn.Dropout(dropout)])

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """x (B, T, D), mask (B or 1, T) of the frames that are seen -> (B, T, D), zero where the mask is false."""
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        for turned in (q, k):
            turned[..., : self.dim_head] = rotate(turned[..., : self.dim_head], angles)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))  # (B, h, T, d)
        seen = None if mask is None else mask[:, None, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2)
        for layer in self.to_out:
            out = layer(out)
        return out if mask is None else out * mask[..., None]


class _FeedForward(nn.Module):
    def __init__(self, dim: int, factor: int, dropout: float) -> None:
        super().__init__()
        rise = nn.Sequential(nn.Linear(dim, factor * dim), nn.GELU(approximate="tanh"))
        self.ff = nn.Sequential(rise, nn.Dropout(dropout), nn.Linear(factor * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.ff(x)


class DiTBlock(nn.Module):
    def __init__(self, dim: int, heads: int, dim_head: int, ff_mult: int, dropout: float) -> None:
        super().__init__()
        self.attn_norm = _AdaptiveNorm(dim, 6)
        self.attn = RotaryAttention(dim, heads, dim_head, dropout)
        self.ff = _FeedForward(dim, ff_mult, dropout)

    def forward(self, x: Tensor, modulation: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """x (B, T, D), modulation (B or 1, 6 D)."""
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = modulation[:, None].chunk(6, dim=2)
        x = x + gate_1 * self.attn(_bent(x, shift_1, scale_1), angles, mask)
        return x + gate_2 * self.ff(_bent(x, shift_2, scale_2))


class DiT(nn.Module):
    """`cfm.estimator`."""

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        heads: int,
        dim_head: int,
        ff_mult: int,
        mel_dim: int,
        text_dim: int,
        conv_layers: int,
        conv_kernel: int = 7,
        time_features: int = 256,
        position_kernel: int = 31,
        position_groups: int = 16,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.time_embed = TimeEmbedding(time_features, dim)
        self.d_embed = TimeEmbedding(time_features, dim)
        self.text_embed = ConditionEmbedding(text_dim, conv_layers, conv_kernel)
        self.input_embed = InputEmbedding(mel_dim, text_dim, dim, position_kernel, position_groups)
        self.rotary_embed = Rotary(dim_head)
        self.transformer_blocks = nn.ModuleList(DiTBlock(dim, heads, dim_head, ff_mult, dropout) for _ in range(depth))
        self.norm_out = _AdaptiveNorm(dim, 2)
        self.proj_out = nn.Linear(dim, mel_dim)

    @property
    def dtype(self) -> torch.dtype:
        return self.proj_out.weight.dtype

    def time_vector(self, time: Tensor, step: Tensor) -> Tensor:
        """time (B,), step (B or 1,) -> (B, D)."""
        return self.time_embed(time) + self.d_embed(step)

    def modulation(self, vector: Tensor) -> Modulation:
        """(B, D) -> what every layer takes from it."""
        return Modulation(
            torch.stack([block.attn_norm(vector) for block in self.transformer_blocks]), self.norm_out(vector)
        )

    def embed_condition(self, condition: Tensor, mask: Tensor | None, *, compat: str | None = None) -> Tensor:
        """condition (B, C, T) -> (B, T, C), the same for every time."""
        return self.text_embed(condition.transpose(1, 2).to(self.dtype), _inner(mask, compat))

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
        """x, prompt (B, M, T), text (B, T, C) embedded -> the flow (B, T, M).

        `prompt` is zero behind its own frames, and `mask` as `frame_mask` gives it. `compat="reference"` lets padding
        act on the frames beside it, as the original does.
        """
        h = self.input_embed(x.transpose(1, 2), prompt.transpose(1, 2), text, _inner(mask, compat))
        h = h.float()  # what the layers add to is never rounded, whatever they compute in
        angles = self.rotary_embed(h.shape[1])
        for block, bend in zip(self.transformer_blocks, modulation.blocks):
            h = block(h, bend, angles, mask)
        scale, shift = modulation.out[:, None].chunk(2, dim=2)
        return self.proj_out(_bent(h, shift, scale))


def frame_mask(lengths: Tensor | None, frames: int, device: torch.device) -> Tensor | None:
    """(B,) -> (B, T), true before each length; None where every frame is valid, which lets attention be faster."""
    if lengths is None or bool((lengths >= frames).all()):
        return None
    return torch.arange(frames, device=device) < lengths.to(device)[:, None]


def _inner(mask: Tensor | None, compat: str | None) -> Tensor | None:
    """The mask of what the original leaves unmasked."""
    return None if compat == "reference" else mask


def _bent(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normed, shifted and scaled: float32 in, the layers' precision out."""
    return (F.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON) * (1 + scale) + shift).to(shift.dtype)
