"""The network of stage 1: phonemes and BERT features, then semantic tokens, and one transformer over both.

Attribute names are checkpoint keys (specification s1-gpt §3): `model.h.layers.0.self_attn.in_proj_weight` …
Shapes: B rows, N phonemes, T semantic tokens, S = N + T, E width, H heads, d = E / H.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.gpt.config import GPTConfig
from GPT_SoVITS.gpt.pointer import MAX_TOKENS_PER_PHONEME, PointerStatistics

BERT_WIDTH = 1024
POSITIONS = 4000
"""Rows of the position table that are computed at once."""


class Text2Semantic(nn.Module):
    """The GPT with official parameter names; `model` is the network, as every stored name begins with it."""

    def __init__(self, config: GPTConfig, *, layer_dropout: float = 0.1, inner_dropout: float | None = None) -> None:
        """Build the network with random weights.

        Args:
            config: the dimensions.
            layer_dropout: of embeddings and layer outputs in training mode; officially 0.1 (§8.4).
            inner_dropout: of attention weights and hidden units, which costs a third of a step on a CPU; None takes
                `layer_dropout`.
        """
        super().__init__()
        self.config = config
        inner = layer_dropout if inner_dropout is None else inner_dropout
        self.model = GPTNetwork(config, layer_dropout, inner)

    @classmethod
    def from_config(
        cls, recipe: Mapping[str, Any], *, layer_dropout: float = 0.1, inner_dropout: float | None = None
    ) -> Text2Semantic:
        """Build from a recipe, or from its `model` section alone. Raises ModelError("bad_config")."""
        return cls(GPTConfig.from_recipe(recipe), layer_dropout=layer_dropout, inner_dropout=inner_dropout)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.ar_predict_layer.weight.device


class GPTNetwork(nn.Module):
    """Embeddings, the transformer and the head (§4)."""

    ar_pointer_tokens: Tensor
    """(phonemes, V), only in a model with pointers; see PointerStatistics."""
    ar_pointer_moving: Tensor
    """(phonemes, MAX_TOKENS_PER_PHONEME), likewise."""

    def __init__(self, config: GPTConfig, layer_dropout: float, inner_dropout: float) -> None:
        super().__init__()
        width = config.embedding_dim
        self.bert_proj = nn.Linear(BERT_WIDTH, width)
        self.ar_text_embedding = TokenEmbedding(config.phoneme_vocab_size, width)
        self.ar_text_position = PositionScale()
        self.ar_audio_embedding = TokenEmbedding(config.vocab_size, width)
        self.ar_audio_position = PositionScale()
        self.h = TransformerStack(config, layer_dropout, inner_dropout)
        self.ar_predict_layer = nn.Linear(width, config.vocab_size, bias=False)
        if config.pointers:
            self.register_buffer("ar_pointer_tokens", torch.zeros(config.phoneme_vocab_size, config.vocab_size))
            self.register_buffer("ar_pointer_moving", torch.zeros(config.phoneme_vocab_size, MAX_TOKENS_PER_PHONEME))
        self.embedding_dropout = config.dropout
        self.layer_dropout = layer_dropout
        self._table = torch.empty(0)

    @property
    def pointer_statistics(self) -> PointerStatistics:
        """What pointers know of the phonemes, in float32; empty in a model without pointers."""
        if hasattr(self, "ar_pointer_tokens"):
            return PointerStatistics(self.ar_pointer_tokens.float(), self.ar_pointer_moving.float())
        empty = self.ar_predict_layer.weight.new_empty(0, 0)
        return PointerStatistics(empty, empty)

    def embed_text(self, phonemes: Tensor, bert: Tensor | None) -> Tensor:
        """Embed phoneme ids (B, N) and BERT features (B, 1024, N) as (B, N, E).

        Without features, the bias of their projection still counts.
        """
        u = self._drop(self.ar_text_embedding(phonemes), self.embedding_dropout)  # (B, N, E)
        if bert is None:
            u = u + self.bert_proj.bias
        else:
            u = u + self.bert_proj(bert.transpose(1, 2).to(self.bert_proj.weight.dtype))
        u = u + self.ar_text_position.alpha * self.positions(phonemes.shape[1])
        return self._drop(u, self.layer_dropout)

    def embed_tokens(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Embed semantic tokens (B, T), the first at position `start`, as (B, T, E).

        Positions count from the prompt's first token, apart from those of the text.
        """
        v = self._drop(self.ar_audio_embedding(tokens), self.embedding_dropout)  # (B, T, E)
        v = v + self.ar_audio_position.alpha * self.positions(start + tokens.shape[1])[start:]
        return self._drop(v, self.layer_dropout)

    def positions(self, count: int) -> Tensor:
        """Return the first rows of the sine table, (count, E), in the weights' dtype."""
        weight = self.ar_predict_layer.weight
        table = self._table
        if len(table) < count or table.device != weight.device or table.dtype != weight.dtype:
            self._table = table = sine_table(max(count, POSITIONS), weight.shape[1]).to(weight)
        return table[:count]

    def _drop(self, x: Tensor, probability: float) -> Tensor:
        return F.dropout(x, probability, self.training) if probability else x


class TokenEmbedding(nn.Module):
    """A lookup table under its official name."""

    def __init__(self, entries: int, width: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(entries, width)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up ids (B, T) as (B, T, E)."""
        return self.word_embeddings(ids)


class PositionScale(nn.Module):
    """The learned weight of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))


class TransformerStack(nn.Module):
    """The layers, one after the other; no norm follows the last one."""

    def __init__(self, config: GPTConfig, dropout: float, inner_dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(config, dropout, inner_dropout) for _ in range(config.n_layer))

    def forward(
        self, h: Tensor, visible: Tensor | None, overrides: Mapping[int, Tensor] = MappingProxyType({})
    ) -> Tensor:
        """Run all layers.

        Args:
            h: (B, S, E).
            visible: boolean (B or 1, H or 1, S, S), true where a query (axis 2) sees a key.
            overrides: replacements of `visible` in some layers, by number.

        Returns:
            (B, S, E).
        """
        for number, layer in enumerate(self.layers):
            h = layer(h, overrides.get(number, visible))
        return h


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each followed by its norm."""

    def __init__(self, config: GPTConfig, dropout: float, inner_dropout: float) -> None:
        super().__init__()
        width = config.embedding_dim
        self.self_attn = SelfAttention(width, config.head, inner_dropout)
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.inner_dropout = nn.Dropout(inner_dropout)

    def forward(self, h: Tensor, visible: Tensor | None) -> Tensor:
        """Transform (B, S, E); for `visible` see TransformerStack."""
        h = self.norm1(h + self.dropout(self.self_attn(h, visible)))
        f = self.linear2(self.inner_dropout(F.relu(self.linear1(h))))
        return self.norm2(h + self.dropout(f))


class SelfAttention(nn.Module):
    """Multi-head attention with one fused input projection."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, h: Tensor, visible: Tensor | None) -> Tensor:
        """Attend within (B, S, E); for `visible` see TransformerStack."""
        rows, length, _ = h.shape
        qkv = F.linear(h, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (B, H, S, d) each
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(a.transpose(1, 2).flatten(2))  # (B, S, E)


def sine_table(count: int, width: int) -> Tensor:
    """Compute sinusoidal positions, (count, width) in float32; sines and cosines alternate."""
    position = torch.arange(count, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * -(math.log(10000.0) / width))
    table = torch.empty(count, width)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency)
    return table


def prefix_visibility(text_length: int, length: int, device: torch.device | None = None) -> Tensor:
    """Return the mask (S, S), true where a query sees a key.

    Text sees all text; audio sees also itself and the audio before it.
    """
    index = torch.arange(length, device=device)
    return (index[None, :] < text_length) | ((index[None, :] <= index[:, None]) & (index[:, None] >= text_length))
