"""The incremental decoder: keys and values in one preallocated cache, read only as far as it is filled.

`Decoder` is the whole interface that generation needs, so that a native kernel can take this one's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.gpt.model import Text2Semantic, prefix_visibility

NARROW = 256
"""Up to this width one thread makes a step faster than several do."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one sequence starts from."""

    phones: Tensor
    """(N,) phoneme ids, those of the prompt's transcript first."""
    bert: Tensor | None = None
    """(1024, N), or None where no features exist."""
    prompt: Tensor | None = None
    """(P,) semantic tokens of the reference recording, or None."""


class Decoder(Protocol):
    """Turns tokens into logits, remembering what it has seen."""

    def prefill(self, rows: Sequence[Row], steps: int) -> Tensor:
        """Read whole rows and make room for `steps` more tokens each; the logits (B, V) of what follows."""

    def step(self, tokens: Tensor) -> Tensor:
        """Read one more token a row, (B,); the logits (B, V) of what follows."""

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these, given by their numbers (K,)."""


class TorchDecoder:
    """The decoder on PyTorch's own kernels."""

    def __init__(self, model: Text2Semantic) -> None:
        self.network = model.model
        self.heads = model.dimensions.heads
        # Attribute look-ups on modules cost as much as small kernels do, hence plain tuples.
        self.layers = [
            (
                layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias,
                layer.self_attn.out_proj.weight, layer.self_attn.out_proj.bias,
                layer.norm1.weight, layer.norm1.bias,
                layer.linear1.weight, layer.linear1.bias,
                layer.linear2.weight, layer.linear2.bias,
                layer.norm2.weight, layer.norm2.bias,
            )
            for layer in self.network.h.layers
        ]  # fmt: skip
        self.head = self.network.ar_predict_layer.weight
        self.embedding = self.network.ar_audio_embedding.word_embeddings.weight

    def prefill(self, rows: Sequence[Row], steps: int) -> Tensor:
        embedded = [self._embed(row) for row in rows]  # (S_i, E) each
        longest = max(len(e) for e in embedded)
        pads = [longest - len(e) for e in embedded]
        # Padding stands on the left, after positions were added: every row then ends in the same column.
        h = torch.stack([F.pad(e, (0, 0, pad, 0)) for e, pad in zip(embedded, pads)])  # (B, S, E)
        visible = torch.stack([self._visibility(row, pad, longest) for row, pad in zip(rows, pads)])[:, None]

        batch, width = len(rows), h.shape[-1]
        shape = (len(self.layers), batch, 2, self.heads, longest + steps, width // self.heads)
        self.cache = torch.empty(shape, dtype=h.dtype, device=h.device)  # (L, B, key | value, H, slots, d)
        self.length = longest
        self.columns = None if not any(pads) else self._columns(pads, longest + steps, h.device)
        self._lay_out_positions(rows, steps)
        for layer, cache in zip(self.network.h.layers, self.cache):
            q, k, v = layer.self_attn.project(h)
            cache[:, 0, :, :longest] = k
            cache[:, 1, :, :longest] = v
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
            h = layer.norm1(h + layer.self_attn.out_proj(a.transpose(1, 2).flatten(2)))
            h = layer.norm2(h + layer.linear2(F.relu(layer.linear1(h))))
        self.hidden = h
        return F.linear(h[:, -1], self.head)

    def step(self, tokens: Tensor) -> Tensor:
        threads = torch.get_num_threads()
        if threads == 1 or len(self.embedding[0]) > NARROW or tokens.device.type != "cpu":
            return self._step(tokens)
        # Threads that wait for one another cost more than such small products; on busy cores 20 times as much.
        torch.set_num_threads(1)
        try:
            return self._step(tokens)
        finally:
            torch.set_num_threads(threads)

    def _step(self, tokens: Tensor) -> Tensor:
        h = F.embedding(tokens, self.embedding) + self.positions[self.taken]  # (B, E)
        batch, width = h.shape
        length = self.length = self.length + 1
        self.taken += 1
        mask = None if self.columns is None else self.columns[..., :length]
        for cache, layer in zip(self.cache, self.layers):
            in_weight, in_bias, out_weight, out_bias, g1, b1, w1, c1, w2, c2, g2, b2 = layer
            qkv = F.linear(h, in_weight, in_bias).view(batch, 3, self.heads, -1)
            cache[:, :, :, length - 1] = qkv[:, 1:]
            a = F.scaled_dot_product_attention(
                qkv[:, 0, :, None], cache[:, 0, :, :length], cache[:, 1, :, :length], attn_mask=mask
            )  # (B, H, 1, d)
            h = F.layer_norm(h + F.linear(a.reshape(batch, width), out_weight, out_bias), (width,), g1, b1)
            h = F.layer_norm(h + F.linear(F.relu(F.linear(h, w1, c1)), w2, c2), (width,), g2, b2)
        return F.linear(h, self.head)

    def keep(self, rows: Tensor) -> None:
        self.cache = self.cache.index_select(1, rows)
        if self.columns is not None:
            self.columns = self.columns.index_select(0, rows)
        if self.positions.shape[1] > 1:
            self.positions = self.positions.index_select(1, rows)

    def _embed(self, row: Row) -> Tensor:
        """(S, E): the row's text, then its prompt."""
        text = self.network.embed_text(row.phones[None], None if row.bert is None else row.bert[None])
        if row.prompt is None:
            return text[0]
        return torch.cat([text, self.network.embed_tokens(row.prompt[None])], dim=1)[0]

    def _visibility(self, row: Row, pad: int, longest: int) -> Tensor:
        """(S, S). The pad's own queries see the text too, so that no softmax is over nothing."""
        visible = prefix_visibility(pad + len(row.phones), longest, row.phones.device)
        visible[:, :pad] = False
        return visible

    def _columns(self, pads: list[int], slots: int, device: torch.device) -> Tensor:
        """(B, 1, 1, slots), false in the slots that hold padding."""
        start = torch.tensor(pads, device=device)[:, None]
        return (torch.arange(slots, device=device)[None] >= start)[:, None, None]

    def _lay_out_positions(self, rows: Sequence[Row], steps: int) -> None:
        """(steps, B or 1, E): what to add to each token to come; rows with equal prompts share one column."""
        prompts = [0 if row.prompt is None else len(row.prompt) for row in rows]
        starts = prompts if len(set(prompts)) > 1 else prompts[:1]
        table = self.network.positions(max(prompts) + steps)
        alpha = self.network.ar_audio_position.alpha
        self.positions = torch.stack([table[start : start + steps] for start in starts], dim=1) * alpha
        self.taken = 0
