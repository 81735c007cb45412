"""The incremental decoder: keys and values in one preallocated cache, read only as far as the longest row fills it.

`Decoder` is the whole interface that generation needs, so that a native kernel can replace the PyTorch one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.gpt.kv_cache import KVCache
from GPT_SoVITS.gpt.model import Text2Semantic, prefix_visibility
from GPT_SoVITS.gpt.packed_weights import (
    NARROW_WIDTH,
    LinearKernels,
    PackedLayer,
    PackedWeights,
    Precision,
    pack_weights,
)
from GPT_SoVITS.gpt.pointer import Pointers
from GPT_SoVITS.threads import single_thread


@dataclass(frozen=True, slots=True)
class GenerationInput:
    """What one sequence begins with."""

    phonemes: Tensor
    """(N,) ids, those of the prompt's transcript first."""
    bert: Tensor | None = None
    """(1024, N), or None where no features exist."""
    prompt: Tensor | None = None
    """(P,) semantic tokens of the reference recording, or None."""


class Decoder(Protocol):
    """Turns tokens into logits and keeps what it has read; rows join and leave between steps.

    A row's logits must not depend on which other rows are in the batch.
    """

    def prefill(self, inputs: Sequence[GenerationInput], steps: int) -> Tensor:
        """Add rows behind the present ones, each with up to `steps` tokens to come.

        Returns:
            The logits of their first tokens, (rows, V) float32.
        """

    def step(self, tokens: Tensor) -> Tensor:
        """Read one more token of every row, (B,), and return the logits of the next ones, (B, V) float32."""

    def remove_row(self, row: int) -> None:
        """Remove a row, given by its number; the last row takes this number."""


class TorchDecoder:
    """The decoder on PyTorch's and oneDNN's kernels."""

    def __init__(self, model: Text2Semantic, precision: Precision = "auto") -> None:
        self.weights = pack_weights(model, precision)
        self.heads = model.config.head
        self.width = model.config.embedding_dim
        self.end = model.config.end_token
        shape = (model.config.n_layer, self.heads, self.width // self.heads)
        self.kv_cache = KVCache(*shape, self.weights.dtype, self.weights.device)
        self.new_pointers = partial(Pointers, model.config.pointers, model.model.pointer_statistics)
        self.pointers = self.new_pointers()
        self.positions = torch.empty(0, dtype=torch.long, device=self.weights.device)
        """(B,), of each row's next token; the prompt's first token has position 0."""
        self.hidden = torch.empty(0)
        """(1, S, E), the last layer's output for the row that was added last."""

    @property
    def cache(self) -> Tensor:
        """(L, rows, key | value, H, slots, d)."""
        return self.kv_cache.data.transpose(1, 2)

    def prefill(self, inputs: Sequence[GenerationInput], steps: int) -> Tensor:
        """Add rows; see Decoder."""
        # One by one: side by side they would not take less time, and padding would change their rounding.
        return torch.cat([self._prefill_row(row, steps) for row in inputs])

    def step(self, tokens: Tensor) -> Tensor:
        """Read one more token of every row; see Decoder."""
        if self.width > NARROW_WIDTH or tokens.device.type != "cpu":
            return self._step(tokens)
        with single_thread():  # on busy cores, threads that wait for one another cost 20 times as much
            return self._step(tokens)

    def remove_row(self, row: int) -> None:
        """Remove a row; see Decoder."""
        self.kv_cache.remove_row(row)
        self.pointers.remove_row(row)
        self.positions[row] = self.positions[-1]
        self.positions = self.positions[:-1]

    def _prefill_row(self, row: GenerationInput, steps: int) -> Tensor:
        """Read the text and the prompt of one row and return its logits, (1, V)."""
        pointers = self.new_pointers()
        start = read_start(self.weights, self.heads, row, lambda length: self.kv_cache.add_row(length, steps), pointers)
        self.positions = torch.cat([self.positions, self.positions.new_tensor([start.prompt])])
        self.hidden = start.hidden[None]
        logits = pointers.advance(start.logits, self.end)
        self.pointers.extend(pointers)
        return logits

    def _step(self, tokens: Tensor) -> Tensor:
        weights = self.weights
        batch = tokens.shape[0]
        kernels = weights.kernels if batch > 1 else weights.single_row_kernels
        weights.extend_positions(max(self.kv_cache.lengths, default=0) + 1)
        h = F.embedding(tokens, weights.token_embedding) + F.embedding(self.positions, weights.token_positions)
        padding = (0, 0, 0, -batch % kernels.rows) if batch % kernels.rows else None
        h = F.pad(h, padding) if padding else h  # (M, E)
        view = self.kv_cache.advance()
        self.positions += 1
        scale = (self.width // self.heads) ** -0.5
        layers = zip(weights.layers, view.flat, view.keys, view.values)
        for number, (layer, flat, keys, values) in enumerate(layers):
            qkv = kernels.linear(h, layer.in_weight, layer.in_bias)
            qkv = (qkv[:batch] if padding else qkv).view(batch, 3, self.heads, -1)
            flat.index_copy_(0, view.target, qkv[:, 1:].transpose(0, 1).reshape(view.target.shape[0], -1))
            # PyTorch's fused attention takes a quarter longer on a CPU where there is one query per row.
            query = qkv[:, 0].reshape(batch * self.heads, 1, -1)
            has_pointers, mask = number in self.pointers.heads, view.mask
            if has_pointers:
                rows = mask.unflatten(0, (batch, -1))[:, :, 0]  # (B, H, slots)
                mask = self.pointers.restrict_mask(number, rows).flatten(0, 1)[:, None]
            weight = torch.baddbmm(mask, query, keys, alpha=scale).softmax(-1)  # (B * H, 1, slots)
            if has_pointers:
                self.pointers.observe(number, weight.view(batch, self.heads, -1))
            attended = torch.bmm(weight, values).view(batch, self.width)
            h = _feed_forward(kernels, layer, h, F.pad(attended, padding) if padding else attended)
        return self.pointers.advance(_logits(weights, h[:batch]), self.end)


class RowStart(NamedTuple):
    """What comes of reading the text and the prompt of a row."""

    logits: Tensor
    """(1, V) float32, before the row's pointers have moved."""
    hidden: Tensor
    """(S, E), the last layer's output."""
    prompt: int
    """Tokens of the prompt: the position of the row's next token."""


def read_start(
    weights: PackedWeights,
    heads: int,
    row: GenerationInput,
    reserve: Callable[[int], tuple[Tensor, Tensor]],
    pointers: Pointers,
) -> RowStart:
    """Read the text and the prompt of one row.

    Args:
        weights: the model's.
        heads: of each layer.
        row: what is read.
        reserve: given S, returns the keys and values of the row, (L, H, S, d) each, which are filled in.
        pointers: without rows; the row is added and its attention observed.
    """
    kernels = weights.single_row_kernels
    h, prompt = _embed(weights, row)  # (S, E)
    length, width = h.shape
    hidden = ~prefix_visibility(len(row.phonemes), length, h.device)
    mask = torch.zeros(length, length, dtype=h.dtype, device=h.device).masked_fill_(hidden, -torch.inf)
    keys, values = reserve(length)
    h = _pad_rows(h, kernels.rows)
    pointers.add_row(row.phonemes)
    for number, (layer, key, value) in enumerate(zip(weights.layers, keys, values)):
        qkv = kernels.linear(h, layer.in_weight, layer.in_bias)[:length]
        q, k, v = qkv.view(length, 3, heads, -1).permute(1, 2, 0, 3)  # (H, S, d)
        key.copy_(k)
        value.copy_(v)
        visible = mask
        if number in pointers.heads:
            visible = _restrict_last_query(pointers, number, q[:, -1], k, mask)
        a = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=visible)
        attended = _pad_rows(a[0].transpose(0, 1).reshape(length, width), kernels.rows)
        h = _feed_forward(kernels, layer, h, attended)
    return RowStart(_logits(weights, h[length - 1 : length]), h[:length], prompt)


def _feed_forward(kernels: LinearKernels, layer: PackedLayer, h: Tensor, attended: Tensor) -> Tensor:
    """Compute what follows attention in a layer, (M, E)."""
    shape = h.shape[1:]
    h = F.layer_norm(kernels.plus(attended, layer.out_weight, layer.out_bias, h), shape, *layer.norm1)
    up = kernels.relu(h, layer.up_weight, layer.up_bias)
    return F.layer_norm(kernels.plus(up, layer.down_weight, layer.down_bias, h), shape, *layer.norm2)


def _logits(weights: PackedWeights, h: Tensor) -> Tensor:
    kernels = weights.head_kernels
    return kernels.linear(_pad_rows(h, kernels.rows), weights.head, None)[: len(h)].float()


def _embed(weights: PackedWeights, row: GenerationInput) -> tuple[Tensor, int]:
    """Return the embedded text and prompt of a row, (S, E), and the prompt's length."""
    prompt = 0 if row.prompt is None else len(row.prompt)
    weights.extend_positions(max(len(row.phonemes), prompt))
    text = F.embedding(row.phonemes, weights.text_embedding) + weights.bert_bias
    if row.bert is not None:
        text = text + F.linear(row.bert.T.to(weights.dtype), weights.bert_weight)
    text = text + weights.text_positions[: len(row.phonemes)]
    if row.prompt is None:
        return text, 0
    tokens = F.embedding(row.prompt, weights.token_embedding) + weights.token_positions[:prompt]
    return torch.cat([text, tokens]), prompt


def _restrict_last_query(pointers: Pointers, number: int, query: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
    """Restrict the pointers of a layer where the first token is predicted, and observe their attention there.

    Args:
        pointers: the pointers of the row alone.
        number: the layer's number.
        query: (H, d), of the last position.
        keys: (H, S, d).
        mask: (S, S) that is added to scores.

    Returns:
        The mask of each head, (H, S, S).
    """
    head_masks = mask.expand(len(keys), -1, -1).clone()
    head_masks[:, -1] = pointers.restrict_mask(number, head_masks[None, :, -1])[0]
    scores = (keys @ query[:, :, None])[:, :, 0] * query.shape[1] ** -0.5 + head_masks[:, -1]  # (H, S)
    pointers.observe(number, scores.softmax(dim=-1)[None])
    return head_masks


def _pad_rows(x: Tensor, multiple: int) -> Tensor:
    missing = -len(x) % multiple
    return F.pad(x, (0, 0, 0, missing)) if missing else x
