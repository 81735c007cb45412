"""The incremental decoder: keys and values in one preallocated cache, read only as far as the longest row fills it.

`Decoder` is the whole interface that generation needs, so that a native kernel can take this one's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.gpt.kv_cache import KVCache
from GPT_SoVITS.gpt.model import Text2Semantic, prefix_visibility
from GPT_SoVITS.gpt.packed_weights import NARROW_WIDTH, LinearKernels, PackedLayer, Precision, pack_weights
from GPT_SoVITS.gpt.pointer import Pointers


@dataclass(frozen=True, slots=True)
class GenerationInput:
    """What one sequence starts from."""

    phones: Tensor
    """(N,) phoneme ids, those of the prompt's transcript first."""
    bert: Tensor | None = None
    """(1024, N), or None where no features exist."""
    prompt: Tensor | None = None
    """(P,) semantic tokens of the reference recording, or None."""


class Decoder(Protocol):
    """Turns tokens into logits, remembering what it has seen; rows join and leave between steps.

    No call may depend on other rows than the one it is about: a row's logits are the same in every company.
    """

    def prefill(self, rows: Sequence[GenerationInput], steps: int) -> Tensor:
        """Let rows join behind those that are there, with up to `steps` tokens each to come.

        The logits (rows, V) of what follows, float32.
        """

    def step(self, tokens: Tensor) -> Tensor:
        """Read one more token a row, (B,); the logits (B, V) of what follows, float32."""

    def drop(self, row: int) -> None:
        """Forget a row, given by its number; the last row takes this number."""


class TorchDecoder:
    """The decoder on PyTorch's and oneDNN's kernels."""

    def __init__(self, model: Text2Semantic, precision: Precision = "auto") -> None:
        self.weights = pack_weights(model, precision)
        self.heads = model.dimensions.heads
        self.end = model.dimensions.end
        self.shape = (model.dimensions.width,)
        shape = (model.dimensions.layers, self.heads, model.dimensions.width // self.heads)
        self.kv = KVCache(*shape, self.weights.dtype, self.weights.device)
        self.begin = partial(Pointers, model.dimensions.pointers, model.model.counts)
        self.pointers = self.begin()
        self.places = torch.empty(0, dtype=torch.long, device=self.weights.device)
        """(B,): the position of each row's next token, which counts from the prompt's first."""
        self.hidden = torch.empty(0)
        """(1, S, E): what the layers made of the row that was read last."""

    @property
    def cache(self) -> Tensor:
        """(L, rows, key | value, H, slots, d)."""
        return self.kv.data.transpose(1, 2)

    @property
    def length(self) -> int:
        """Slots that the longest row fills."""
        return max(self.kv.lengths, default=0)

    def prefill(self, rows: Sequence[GenerationInput], steps: int) -> Tensor:
        # One by one: side by side they would not take less time, and padding would change their rounding.
        return torch.cat([self._read(row, steps) for row in rows])

    def step(self, tokens: Tensor) -> Tensor:
        threads = torch.get_num_threads()
        if threads == 1 or self.weights.token_embedding.shape[1] > NARROW_WIDTH or tokens.device.type != "cpu":
            return self._step(tokens)
        # Threads that wait for one another cost more than such small products; on busy cores 20 times as much.
        torch.set_num_threads(1)
        try:
            return self._step(tokens)
        finally:
            torch.set_num_threads(threads)

    def drop(self, row: int) -> None:
        self.kv.drop(row)
        self.pointers.drop(row)
        self.places[row] = self.places[-1]
        self.places = self.places[:-1]

    def _read(self, row: GenerationInput, steps: int) -> Tensor:
        """One row's text and prompt; (1, V)."""
        weights, kernels = self.weights, self.weights.kernels_of_one
        h, prompt = self._embed(row)  # (S, E)
        length, width = h.shape
        hidden = ~prefix_visibility(len(row.phones), length, h.device)
        mask = torch.zeros(length, length, dtype=h.dtype, device=h.device).masked_fill_(hidden, -torch.inf)
        keys, values = self.kv.join(length, steps)  # (L, H, S, d) each
        h = _pad_rows(h, kernels.rows)
        pointers = self.begin()
        pointers.add(row.phones)
        for number, (layer, key, value) in enumerate(zip(weights.layers, keys, values)):
            qkv = kernels.linear(h, layer.in_weight, layer.in_bias)[:length]
            q, k, v = qkv.view(length, 3, self.heads, -1).permute(1, 2, 0, 3)  # (H, S, d)
            key.copy_(k)
            value.copy_(v)
            seen = mask
            if number in pointers.heads:
                seen = _point(pointers, number, q[:, -1], k, mask)
            a = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=seen)
            h = self._feed(kernels, layer, h, _pad_rows(a[0].transpose(0, 1).reshape(length, width), kernels.rows))
        self.places = torch.cat([self.places, self.places.new_tensor([prompt])])
        self.hidden = h[None, :length]
        logits = pointers.move(self._logits(h[length - 1 : length]), self.end)
        self.pointers.join(pointers)
        return logits

    def _step(self, tokens: Tensor) -> Tensor:
        weights = self.weights
        batch, (width,) = tokens.shape[0], self.shape
        kernels = weights.kernels if batch > 1 else weights.kernels_of_one
        weights.lengthen(self.length + 1)
        h = F.embedding(tokens, weights.token_embedding) + F.embedding(self.places, weights.token_positions)
        padding = (0, 0, 0, -batch % kernels.rows) if batch % kernels.rows else None
        h = F.pad(h, padding) if padding else h
        view = self.kv.advance()
        self.places += 1
        scale = (width // self.heads) ** -0.5
        layers = zip(weights.layers, view.everything, view.keys, view.values)
        for number, (layer, everything, keys, values) in enumerate(layers):
            qkv = kernels.linear(h, layer.in_weight, layer.in_bias)
            qkv = (qkv[:batch] if padding else qkv).view(batch, 3, self.heads, -1)
            everything.index_copy_(0, view.target, qkv[:, 1:].transpose(0, 1).reshape(view.target.shape[0], -1))
            # The fused attention of PyTorch takes a quarter longer on a CPU where there is one query a row.
            query = qkv[:, 0].reshape(batch * self.heads, 1, -1)
            points, mask = number in self.pointers.heads, view.mask
            if points:
                mask = self.pointers.narrow(number, mask.unflatten(0, (batch, -1))[:, :, 0]).flatten(0, 1)[:, None]
            weight = torch.baddbmm(mask, query, keys, alpha=scale).softmax(-1)  # (B * H, 1, slots)
            if points:
                self.pointers.hear(number, weight.view(batch, self.heads, -1))
            attended = torch.bmm(weight, values).view(batch, width)
            h = self._feed(kernels, layer, h, F.pad(attended, padding) if padding else attended)
        return self.pointers.move(self._logits(h[:batch]), self.end)

    def _feed(self, kernels: LinearKernels, layer: PackedLayer, h: Tensor, attended: Tensor) -> Tensor:
        """What follows attention, (M, E)."""
        h = F.layer_norm(kernels.plus(attended, layer.out_weight, layer.out_bias, h), self.shape, *layer.norm1)
        up = kernels.relu(h, layer.up_weight, layer.up_bias)
        return F.layer_norm(kernels.plus(up, layer.down_weight, layer.down_bias, h), self.shape, *layer.norm2)

    def _logits(self, h: Tensor) -> Tensor:
        kernels = self.weights.head_kernels
        return kernels.linear(_pad_rows(h, kernels.rows), self.weights.head, None)[: len(h)].float()

    def _embed(self, row: GenerationInput) -> tuple[Tensor, int]:
        """(S, E), the row's text and then its prompt; the prompt's length."""
        weights = self.weights
        prompt = 0 if row.prompt is None else len(row.prompt)
        weights.lengthen(max(len(row.phones), prompt))
        text = F.embedding(row.phones, weights.text_embedding) + weights.bert_bias
        if row.bert is not None:
            text = text + F.linear(row.bert.T.to(weights.dtype), weights.bert_weight)
        text = text + weights.text_positions[: len(row.phones)]
        if row.prompt is None:
            return text, 0
        tokens = F.embedding(row.prompt, weights.token_embedding) + weights.token_positions[:prompt]
        return torch.cat([text, tokens]), prompt


def _point(pointers: Pointers, number: int, query: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
    """(H, S, S): `mask` (S, S) with the pointers of a layer held to the text where the first token is to come; what
    they see there is heard. query (H, d), keys (H, S, d)."""
    everyone = mask.expand(len(keys), -1, -1).clone()
    everyone[:, -1] = pointers.narrow(number, everyone[None, :, -1])[0]
    scores = (keys @ query[:, :, None])[:, :, 0] * query.shape[1] ** -0.5 + everyone[:, -1]  # (H, S)
    pointers.hear(number, scores.softmax(dim=-1)[None])
    return everyone


def _pad_rows(x: Tensor, multiple: int) -> Tensor:
    missing = -len(x) % multiple
    return F.pad(x, (0, 0, 0, missing)) if missing else x
