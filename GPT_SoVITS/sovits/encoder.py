"""Text encoder: tokens, phonemes and style to the prior's mean and spread (specification s2-sovits §5, §17)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.sovits.layers import Attention, EncoderStack, length_mask


@dataclass(frozen=True, slots=True)
class Prior:
    """What the text encoder says about every frame; T frames after the change of speed."""

    mean: Tensor
    """(B, C, T)."""
    logs: Tensor
    """(B, C, T), log of the standard deviation."""
    mask: Tensor
    """(B, 1, T)."""
    latent: Tensor
    """(B, H, T') before the change of speed; a streaming caller hands its end to the next chunk."""


class MRTE(nn.Module):
    """Lets every semantic frame look at the phonemes, and adds the style."""

    def __init__(self, channels: int, inner: int, heads: int) -> None:
        super().__init__()
        self.cross_attention = Attention(inner, heads)
        self.c_pre = nn.Conv1d(channels, inner, 1)
        self.text_pre = nn.Conv1d(channels, inner, 1)
        self.c_post = nn.Conv1d(inner, channels, 1)

    def forward(self, y: Tensor, y_mask: Tensor, text: Tensor, text_mask: Tensor, style: Tensor) -> Tensor:
        content = self.c_pre(y * y_mask)  # (B, I, T)
        text = self.text_pre(text * text_mask)  # (B, I, S)
        seen = self.cross_attention(content * y_mask, text * text_mask, y_mask, text_mask)
        return self.c_post((seen + content + style) * y_mask)


class TextEncoder(nn.Module):
    """`enc_p`."""

    def __init__(
        self,
        *,
        symbols: int,
        ssl_dim: int,
        inter_channels: int,
        hidden_channels: int,
        filter_channels: int,
        n_heads: int,
        n_layers: int,
        kernel_size: int,
        p_dropout: float,
        mrte_hidden: int,
        mrte_heads: int,
    ) -> None:
        super().__init__()
        stack = (hidden_channels, filter_channels, n_heads)
        self.ssl_proj = nn.Conv1d(ssl_dim, hidden_channels, 1)
        self.encoder_ssl = EncoderStack(*stack, n_layers // 2, kernel_size, p_dropout)
        self.encoder_text = EncoderStack(*stack, n_layers, kernel_size, p_dropout)
        self.text_embedding = nn.Embedding(symbols, hidden_channels)
        self.mrte = MRTE(hidden_channels, mrte_hidden, mrte_heads)
        self.encoder2 = EncoderStack(*stack, n_layers // 2, kernel_size, p_dropout)
        self.proj = nn.Conv1d(hidden_channels, 2 * inter_channels, 1)

    def forward(
        self,
        quantized: Tensor,
        lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        style: Tensor,
        *,
        speed: float = 1.0,
        result_frames: int | None = None,
        overlap: Tensor | None = None,
    ) -> Prior:
        """quantized (B, D, T), text (B, S) ids, style (B, I, 1).

        `result_frames` keeps only the last frames, and `overlap`, the end of the previous chunk's latent, is
        cross-faded into their beginning.
        """
        mask = length_mask(lengths, quantized.shape[-1])
        text_mask = length_mask(text_lengths, text.shape[-1])
        y = self.encoder_ssl(self.ssl_proj(quantized * mask) * mask, mask)
        t = self.encoder_text(self.text_embedding(text).transpose(1, 2), text_mask)
        y = self.mrte(y, mask, t, text_mask, style)
        y = self.encoder2(y, mask)  # (B, H, T)
        if result_frames is not None:
            y, mask = y[:, :, -result_frames:], mask[:, :, -result_frames:]
        if overlap is not None:
            y = _cross_fade(overlap, y)
        latent = y
        if speed != 1:
            frames = int(y.shape[-1] / speed) + 1
            y = F.interpolate(y, size=frames, mode="linear")
            mask = F.interpolate(mask, size=frames, mode="nearest")
        mean, logs = (self.proj(y) * mask).chunk(2, dim=1)
        return Prior(mean, logs, mask, latent)


def _cross_fade(before: Tensor, after: Tensor) -> Tensor:
    """Blend the end of one chunk into the beginning of the next at constant power."""
    n = before.shape[-1]
    weights = torch.sin(torch.arange(2 * n, device=after.device) * math.pi / (2 * n)).to(after)
    blended = weights[:n] * after[:, :, :n] + weights[n:] * before
    return torch.cat([blended, after[:, :, n:]], dim=2)
