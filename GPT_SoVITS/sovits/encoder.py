"""Text encoder: tokens, phonemes and style to the prior's mean and spread (specification s2-sovits §5, §17)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.sovits.aligned_text import AlignedText, TokenPhonemeClassifier, align_phonemes
from GPT_SoVITS.sovits.layers import ConvAttention, EncoderStack, length_mask


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


class ReadText(NamedTuple):
    """What the encoder makes of a sentence's phonemes."""

    latent: Tensor
    """(B, H, S)."""
    mask: Tensor
    """(B, 1, S)."""
    phones: Tensor
    """(B, S)."""


class MRTE(nn.Module):
    """Lets every semantic frame look at the phonemes, and adds the style."""

    def __init__(self, channels: int, inner: int, heads: int) -> None:
        super().__init__()
        self.cross_attention = ConvAttention(inner, heads)
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
        listener_width: int = 0,
    ) -> None:
        """`listener_width` puts a TokenPhonemeClassifier and AlignedText in the place of MRTE (nano)."""
        super().__init__()
        stack = (hidden_channels, filter_channels, n_heads)
        self.ssl_proj = nn.Conv1d(ssl_dim, hidden_channels, 1)
        self.encoder_ssl = EncoderStack(*stack, n_layers // 2, kernel_size, p_dropout)
        self.encoder_text = EncoderStack(*stack, n_layers, kernel_size, p_dropout)
        self.text_embedding = nn.Embedding(symbols, hidden_channels)
        self.mrte: MRTE | AlignedText
        if listener_width:
            self.listener = TokenPhonemeClassifier(symbols, ssl_dim, listener_width)
            self.mrte = AlignedText(hidden_channels, mrte_hidden)
        else:
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
        cross-faded into their beginning: the streaming of §17, which reads the whole prefix for every chunk.
        """
        mask = length_mask(lengths, quantized.shape[-1])
        y = self.encode(quantized, mask, self.read_text(text, text_lengths), style)  # (B, H, T)
        if result_frames is not None:
            y, mask = y[:, :, -result_frames:], mask[:, :, -result_frames:]
        if overlap is not None:
            y = _cross_fade(overlap, y)
        stretched, mask = stretch(y, speed), stretch(mask, speed, mode="nearest")
        return self.prior(stretched, mask, latent=y)

    def read_text(self, text: Tensor, lengths: Tensor) -> ReadText:
        """Phoneme ids (B, S): the part of the work that all chunks of a sentence share."""
        mask = length_mask(lengths, text.shape[-1])
        return ReadText(self.encoder_text(self.text_embedding(text).transpose(1, 2), mask), mask, text)

    @torch.no_grad()
    def align_phonemes(
        self, quantized: Tensor, mask: Tensor, text: ReadText, *, begin: int = 0, whole: bool = True
    ) -> Tensor | None:
        """(B, T), the phoneme that each frame speaks (see `follow`); None where attention finds that by itself."""
        if isinstance(self.mrte, MRTE):
            return None
        heard = self.listener(quantized, mask)
        lengths, text_lengths = (m[:, 0].sum(dim=1).long() for m in (mask, text.mask))
        return align_phonemes(heard, text.phones, lengths, text_lengths, begin=begin, whole=whole)

    def encode(
        self, quantized: Tensor, mask: Tensor, text: ReadText, style: Tensor, *, where: Tensor | None = None
    ) -> Tensor:
        """quantized (B, D, T), mask (B, 1, T), style (B, I, 1) -> latent (B, H, T), before any change of speed.

        `where` is what `follow` said, if it was asked before."""
        y = self.encoder_ssl(self.ssl_proj(quantized * mask) * mask, mask)
        if isinstance(self.mrte, MRTE):
            y = self.mrte(y, mask, text.latent, text.mask, style)
        else:
            where = self.align_phonemes(quantized, mask, text) if where is None else where
            y = self.mrte(y, mask, text.latent, where, style)
        return self.encoder2(y, mask)

    def prior(self, y: Tensor, mask: Tensor, *, latent: Tensor | None = None) -> Prior:
        """A latent (B, H, T), stretched or not, -> mean and spread of every frame."""
        mean, logs = (self.proj(y) * mask).chunk(2, dim=1)
        return Prior(mean, logs, mask, y if latent is None else latent)


def stretch(y: Tensor, speed: float, mode: str = "linear") -> Tensor:
    """(B, H, T) -> (B, H, int(T / speed) + 1), unchanged at speed 1 (§5)."""
    return y if speed == 1 else F.interpolate(y, size=int(y.shape[-1] / speed) + 1, mode=mode)


def _cross_fade(before: Tensor, after: Tensor) -> Tensor:
    """Blend the end of one chunk into the beginning of the next at constant power."""
    n = before.shape[-1]
    weights = torch.sin(torch.arange(2 * n, device=after.device) * math.pi / (2 * n)).to(after)
    blended = weights[:n] * after[:, :, :n] + weights[n:] * before
    return torch.cat([blended, after[:, :, n:]], dim=2)
