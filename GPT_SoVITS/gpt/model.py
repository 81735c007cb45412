"""The network of stage 1: phonemes and BERT features, then semantic tokens, and one transformer over both.

Attribute names are checkpoint keys (specification s1-gpt §3): `model.h.layers.0.self_attn.in_proj_weight` …
Letters beside tensors: B rows, N phonemes, T semantic tokens, S = N + T, E width, H heads, d = E / H.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.pointer import MAX_TOKENS_PER_PHONEME, PointerStatistics

BERT_WIDTH = 1024
POSITIONS = 4000
"""Rows of the position table that are made at once."""


@dataclass(frozen=True, slots=True)
class GPTConfig:
    """The numbers that decide every shape; named in `config.model` of a checkpoint (§1)."""

    width: int
    heads: int
    layers: int
    tokens: int
    """Semantic vocabulary, the end token included; the end token is the last one."""
    phones: int
    embedding_dropout: float
    pointers: tuple[tuple[int, int], ...] = ()
    """(layer, head) of the heads that know the phoneme of each token; see pointer.py."""

    @property
    def end(self) -> int:
        """The end token."""
        return self.tokens - 1

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> GPTConfig:
        """Read a checkpoint's config, or its `model` part alone; raises ModelError("bad_config")."""
        model = config.get("model", config)
        width, heads, tokens = int(model["embedding_dim"]), int(model["head"]), int(model["vocab_size"])
        if int(model["hidden_dim"]) != width:
            raise ModelError("bad_config", f"hidden_dim {model['hidden_dim']} must equal embedding_dim {width}.")
        if width % heads or width % 2:
            raise ModelError("bad_config", f"A width of {width} cannot be cut into {heads} heads and sine pairs.")
        if int(model["EOS"]) != tokens - 1:
            raise ModelError("bad_config", f"The end token must be {tokens - 1}, the last one; EOS is {model['EOS']}.")
        return cls(
            width=width,
            heads=heads,
            layers=int(model["n_layer"]),
            tokens=tokens,
            phones=int(model["phoneme_vocab_size"]),
            embedding_dropout=float(model["dropout"]),
            pointers=tuple((int(layer), int(head)) for layer, head in model.get("pointers", ())),
        )


class Text2Semantic(nn.Module):
    """The GPT with official parameter names; `model` is the network, as every stored name begins with it."""

    def __init__(
        self, config: Mapping[str, Any], *, layer_dropout: float = 0.1, inner_dropout: float | None = None
    ) -> None:
        """Both act in training mode only; the official recipe fixes them at 0.1 (§8.4). `inner_dropout` is that of
        attention weights and hidden units, which costs a third of a step on a CPU; None takes `layer_dropout`."""
        super().__init__()
        self.dimensions = GPTConfig.from_config(config)
        inner = layer_dropout if inner_dropout is None else inner_dropout
        self.model = GPTNetwork(self.dimensions, layer_dropout, inner)

    @property
    def device(self) -> torch.device:
        return self.model.ar_predict_layer.weight.device


class GPTNetwork(nn.Module):
    """Embeddings, the layers and the head (§4)."""

    def __init__(self, dimensions: GPTConfig, layer_dropout: float, inner_dropout: float) -> None:
        super().__init__()
        width = dimensions.width
        self.bert_proj = nn.Linear(BERT_WIDTH, width)
        self.ar_text_embedding = TokenEmbedding(dimensions.phones, width)
        self.ar_text_position = PositionScale()
        self.ar_audio_embedding = TokenEmbedding(dimensions.tokens, width)
        self.ar_audio_position = PositionScale()
        self.h = TransformerStack(dimensions, layer_dropout, inner_dropout)
        self.ar_predict_layer = nn.Linear(width, dimensions.tokens, bias=False)
        if dimensions.pointers:
            self.register_buffer("ar_pointer_tokens", torch.zeros(dimensions.phones, dimensions.tokens))
            self.register_buffer("ar_pointer_moving", torch.zeros(dimensions.phones, MAX_TOKENS_PER_PHONEME))
        self.embedding_dropout = dimensions.embedding_dropout
        self.layer_dropout = layer_dropout
        self._table = torch.empty(0)

    @property
    def counts(self) -> PointerStatistics:
        """What pointers know of the phonemes, in float32."""
        if hasattr(self, "ar_pointer_tokens"):
            return PointerStatistics(self.ar_pointer_tokens.float(), self.ar_pointer_moving.float())
        return PointerStatistics(*[self.ar_predict_layer.weight.new_empty(0, 0)] * 2)

    def embed_text(self, phones: Tensor, bert: Tensor | None) -> Tensor:
        """(B, N) ids and (B, 1024, N) features -> (B, N, E). Without features the bias still counts."""
        u = self._drop(self.ar_text_embedding(phones), self.embedding_dropout)  # (B, N, E)
        if bert is None:
            u = u + self.bert_proj.bias
        else:
            u = u + self.bert_proj(bert.transpose(1, 2).to(self.bert_proj.weight.dtype))
        u = u + self.ar_text_position.alpha * self.positions(phones.shape[1])
        return self._drop(u, self.layer_dropout)

    def embed_tokens(self, tokens: Tensor, start: int = 0) -> Tensor:
        """(B, T) tokens -> (B, T, E); their positions begin with the prompt, apart from the text's."""
        v = self._drop(self.ar_audio_embedding(tokens), self.embedding_dropout)  # (B, T, E)
        v = v + self.ar_audio_position.alpha * self.positions(start + tokens.shape[1])[start:]
        return self._drop(v, self.layer_dropout)

    def positions(self, count: int) -> Tensor:
        """The first `count` rows of the sine table, (count, E), in the weights' type."""
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
        return self.word_embeddings(ids)


class PositionScale(nn.Module):
    """How strongly positions count, learned."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))


class TransformerStack(nn.Module):
    """The layers, one after the other; no norm follows the last one."""

    def __init__(self, dimensions: GPTConfig, dropout: float, inner: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(dimensions, dropout, inner) for _ in range(dimensions.layers))

    def forward(
        self, h: Tensor, visible: Tensor | None, special: Mapping[int, Tensor] = MappingProxyType({})
    ) -> Tensor:
        """(B, S, E) and a boolean (B or 1, H or 1, S, S), true where a query (axis 2) sees a key -> (B, S, E).

        `special` takes the place of `visible` in some layers, by number."""
        for number, layer in enumerate(self.layers):
            h = layer(h, special.get(number, visible))
        return h


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each followed by its norm."""

    def __init__(self, dimensions: GPTConfig, dropout: float, inner: float) -> None:
        super().__init__()
        width = dimensions.width
        self.self_attn = SelfAttention(width, dimensions.heads, inner)
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.inner_dropout = nn.Dropout(inner)

    def forward(self, h: Tensor, visible: Tensor | None) -> Tensor:
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
        q, k, v = self.project(h)
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(a.transpose(1, 2).flatten(2))  # (B, S, E)

    def project(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, S, E) -> query, key and value, (B, H, S, d) each."""
        rows, length, _ = h.shape
        qkv = F.linear(h, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return q, k, v


def sine_table(count: int, width: int) -> Tensor:
    """(count, width) in float32; sines and cosines alternate."""
    position = torch.arange(count, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * -(math.log(10000.0) / width))
    table = torch.empty(count, width)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency)
    return table


def prefix_visibility(text_length: int, length: int, device: torch.device | None = None) -> Tensor:
    """(S, S), true where a query sees a key: text sees all text; audio also itself and the audio before."""
    index = torch.arange(length, device=device)
    return (index[None, :] < text_length) | ((index[None, :] <= index[:, None]) & (index[:, None] >= text_length))
