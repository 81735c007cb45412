"""Text encoder: tokens, phonemes and style to the prior's mean and spread (specification s2-sovits §5, §17).

Shapes: B batch, T frames, S phonemes, D width of a token's vector, H hidden channels, I width of a text style.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.sovits.aligned_text import AlignedText, TokenPhonemeClassifier, align_phonemes, monotonic_path
from GPT_SoVITS.sovits.config import EncoderConfig
from GPT_SoVITS.sovits.layers import ConvAttention, EncoderStack, length_mask


@dataclass(frozen=True, slots=True)
class Prior:
    """The distribution of the latent in every frame."""

    mean: Tensor
    """(B, C, T)."""
    logs: Tensor
    """(B, C, T), log of the standard deviation."""
    mask: Tensor
    """(B, 1, T)."""


class EncodedText(NamedTuple):
    """A sentence's phonemes, encoded."""

    latent: Tensor
    """(B, H, S)."""
    mask: Tensor
    """(B, 1, S)."""
    phonemes: Tensor
    """(B, S) ids."""


class MRTE(nn.Module):
    """Cross-attention of every semantic frame to the phonemes, with the style added."""

    def __init__(self, channels: int, inner: int, heads: int) -> None:
        super().__init__()
        self.cross_attention = ConvAttention(inner, heads)
        self.c_pre = nn.Conv1d(channels, inner, 1)
        self.text_pre = nn.Conv1d(channels, inner, 1)
        self.c_post = nn.Conv1d(inner, channels, 1)

    def forward(
        self,
        y: Tensor,
        y_mask: Tensor,
        text: Tensor,
        text_mask: Tensor,
        style: Tensor,
        observe: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Combine frames (B, H, T), text (B, H, S) and style (B, I, 1) to (B, H, T).

        `observe` is told the weights (B, heads, T, S) of the phonemes.
        """
        content = self.c_pre(y * y_mask)  # (B, I, T)
        text = self.text_pre(text * text_mask)  # (B, I, S)
        attended = self.cross_attention(content * y_mask, text * text_mask, y_mask, text_mask, observe)
        return self.c_post((attended + content + style) * y_mask)

    def attend(self, y: Tensor, y_mask: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Return the weights (B, T, S) of the phonemes alone, the mean of all heads."""
        weights: list[Tensor] = []
        content, text = self.c_pre(y * y_mask), self.text_pre(text * text_mask)
        self.cross_attention(content * y_mask, text * text_mask, y_mask, text_mask, weights.append)
        return weights[0].float().mean(dim=1)


class TextEncoder(nn.Module):
    """`enc_p`."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        hidden, layers = config.hidden_channels, config.n_layers

        def stack(layers: int) -> EncoderStack:
            return EncoderStack(
                hidden, config.filter_channels, config.n_heads, layers, config.kernel_size, config.p_dropout
            )

        self.ssl_proj = nn.Conv1d(config.ssl_dim, hidden, 1)
        self.encoder_ssl = stack(layers // 2)
        self.encoder_text = stack(layers)
        self.text_embedding = nn.Embedding(config.symbols, hidden)
        self.mrte: MRTE | AlignedText
        if config.listener_width:
            self.listener = TokenPhonemeClassifier(config.symbols, config.ssl_dim, config.listener_width)
            self.mrte = AlignedText(hidden, config.mrte_hidden)
        else:
            self.mrte = MRTE(hidden, config.mrte_hidden, config.mrte_heads)
        self.encoder2 = stack(layers // 2)
        self.proj = nn.Conv1d(hidden, 2 * config.inter_channels, 1)

    def forward(self, vectors: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor, style: Tensor) -> Prior:
        """Encode whole sentences.

        Args:
            vectors: (B, D, T), of the tokens.
            lengths: (B,) frames of each row.
            text: (B, S) phoneme ids.
            text_lengths: (B,) phonemes of each row.
            style: (B, I, 1).
        """
        mask = length_mask(lengths, vectors.shape[-1])
        return self.prior(self.encode(vectors, mask, self.encode_text(text, text_lengths), style), mask)

    def encode_text(self, text: Tensor, lengths: Tensor) -> EncodedText:
        """Encode phoneme ids (B, S): the part of the work that all chunks of a sentence share."""
        mask = length_mask(lengths, text.shape[-1])
        return EncodedText(self.encoder_text(self.text_embedding(text).transpose(1, 2), mask), mask, text)

    @torch.no_grad()
    def align_phonemes(
        self, vectors: Tensor, mask: Tensor, text: EncodedText, *, begin: int = 0, whole: bool = True
    ) -> Tensor | None:
        """Find the phoneme that each frame speaks, (B, T); None where attention takes its place.

        Args:
            vectors: (B, D, T), of the tokens.
            mask: (B, 1, T).
            text: the phonemes.
            begin: see `aligned_text.align_phonemes`.
            whole: see `aligned_text.align_phonemes`.
        """
        if isinstance(self.mrte, MRTE):
            return None
        log_probs = self.listener(vectors, mask)
        lengths, text_lengths = (m[:, 0].sum(dim=1).long() for m in (mask, text.mask))
        return align_phonemes(log_probs, text.phonemes, lengths, text_lengths, begin=begin, whole=whole)

    def encode(
        self,
        vectors: Tensor,
        mask: Tensor,
        text: EncodedText,
        style: Tensor,
        *,
        alignment: Tensor | None = None,
        observe: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Encode tokens with their text and style, before any change of speed.

        Args:
            vectors: (B, D, T), of the tokens.
            mask: (B, 1, T).
            text: the phonemes.
            style: (B, I, 1).
            alignment: what `align_phonemes` returned, where it was called before.
            observe: is told the weights (B, heads, T, S) of free attention to the phonemes.

        Returns:
            (B, H, T).
        """
        y = self.encoder_ssl(self.ssl_proj(vectors * mask) * mask, mask)
        if isinstance(self.mrte, MRTE):
            y = self.mrte(y, mask, text.latent, text.mask, style, observe)
        else:
            alignment = self.align_phonemes(vectors, mask, text) if alignment is None else alignment
            y = self.mrte(y, mask, text.latent, alignment, style)
        return self.encoder2(y, mask)

    @torch.no_grad()
    def attend(self, vectors: Tensor, mask: Tensor, text: EncodedText) -> Tensor | None:
        """Return the free attention (B, T, S) of tokens (B, D, T) to their text, the mean of all heads; None without.

        `mask` is (B, 1, T).
        """
        if not isinstance(self.mrte, MRTE):
            return None
        y = self.encoder_ssl(self.ssl_proj(vectors * mask) * mask, mask)
        return self.mrte.attend(y, mask, text.latent, text.mask)

    def encode_aligned(
        self, vectors: Tensor, mask: Tensor, text: EncodedText, style: Tensor, *, begin: int = 0, whole: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Encode tokens as `encode` does, and tell which phoneme each frame speaks.

        Free attention is no path through the text: the likeliest one by its weights, averaged over the heads, counts.

        Returns:
            (B, H, T), and indices (B, T) into the phonemes.
        """
        alignment = self.align_phonemes(vectors, mask, text, begin=begin, whole=whole)
        weights: list[Tensor] = []
        y = self.encode(vectors, mask, text, style, alignment=alignment, observe=weights.append)
        if alignment is None:
            lengths, text_lengths = (m[:, 0].sum(dim=1).long() for m in (mask, text.mask))
            attention = weights[0].float().mean(dim=1)
            alignment = attention_path(attention, lengths, text_lengths, begin=begin, whole=whole)
        return y, alignment

    def prior(self, y: Tensor, mask: Tensor) -> Prior:
        """Project encoded frames (B, H, T), stretched or not, to mean and spread."""
        mean, logs = (self.proj(y) * mask).chunk(2, dim=1)
        return Prior(mean, logs, mask)


def attention_path(
    attention: Tensor, lengths: Tensor, text_lengths: Tensor, *, begin: int = 0, whole: bool = True
) -> Tensor:
    """Return the phoneme that each frame speaks, (B, T), by attention (B, T, S), the mean of all heads.

    The other arguments are those of `aligned_text.align_phonemes`.
    """
    emission = attention.clamp_min(torch.finfo(torch.float32).tiny).log()
    return monotonic_path(emission, lengths, text_lengths, begin=begin, whole=whole)


def stretch(y: Tensor, speed: float, mode: str = "linear") -> Tensor:
    """Resample (B, H, T) to (B, H, int(T / speed) + 1); speed 1 changes nothing (§5)."""
    return y if speed == 1 else F.interpolate(y, size=int(y.shape[-1] / speed) + 1, mode=mode)
