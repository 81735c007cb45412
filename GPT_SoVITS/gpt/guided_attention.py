"""Training of a GPT with pointers: heads that are told which phoneme each token speaks (see pointer.py).

Without this, a model of nano's size babbles in a speaker's voice for hours before it finds the text. A pointer is
taught by its own loss, and sees two phonemes as it does when it speaks; the rest of the model learns to trust it. Some
of the tokens that are read are wrong, as the model's own will be.

Shapes: B rows, H heads, T tokens, S places: phonemes, then tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.gpt.data import GPTItem
from GPT_SoVITS.gpt.loss import GPTBatch, GPTLoss, InputOverrides, compute_loss, visibility
from GPT_SoVITS.gpt.model import SelfAttention, Text2Semantic

WEIGHT = 0.5
"""Of a token's surprise about its phoneme, beside its surprise about itself."""
WRONG = 0.12
"""Of the tokens that are read."""


class GuidedAttention:
    """What a training adds to each batch; `pointers` holds the phoneme of each token of an item, (T,), by its name."""

    def __init__(self, model: Text2Semantic, pointers: Mapping[str, Tensor]) -> None:
        self.model = model
        self.heads = model.dimensions.pointers
        self.pointers = pointers

    def compute_loss(self, work: Sequence[GPTItem], batch: GPTBatch, **options: Any) -> GPTLoss:
        """As the function of this name. Draws from torch's global generator."""
        seen = visibility(batch)  # (B, 1, S, S)
        wanted, asked = self._wanted(work, batch)
        reading = InputOverrides(self._mistaken(batch.tokens), self._narrowed(work, batch, seen, wanted))
        with self._heard() as heard:
            result = compute_loss(self.model, batch, reading=reading, **options)
        surprise = sum(
            _surprise(self._attention(layer), head, heard[layer], seen[:, 0], wanted, asked)
            for layer, head in self.heads
        )
        return replace(result, loss=result.loss + WEIGHT * surprise)

    def _attention(self, layer: int) -> SelfAttention:
        attention = self.model.model.h.layers[layer].self_attn
        assert isinstance(attention, SelfAttention)
        return attention

    @contextmanager
    def _heard(self) -> Iterator[dict[int, Tensor]]:
        """What goes into the layers that have pointers, (B, S, E), when the batch itself is read."""
        heard: dict[int, Tensor] = {}

        def hear(layer: int) -> Callable[..., None]:
            def hook(_module: object, given: tuple[Tensor, ...], _result: Tensor) -> None:
                heard.setdefault(layer, given[0])

            return hook

        layers = {layer for layer, _ in self.heads}
        hooks = [self._attention(layer).register_forward_hook(hear(layer)) for layer in layers]
        try:
            yield heard
        finally:
            for hook in hooks:
                hook.remove()

    def _mistaken(self, tokens: Tensor) -> Tensor:
        wrong = (torch.rand(tokens.shape) < WRONG).to(tokens.device)
        return torch.where(wrong, torch.randint(self.model.dimensions.end, tokens.shape).to(tokens), tokens)

    def _wanted(self, work: Sequence[GPTItem], batch: GPTBatch) -> tuple[Tensor, Tensor]:
        """(B, S) the phoneme that a place should look at, and where that is asked: before every token of the row."""
        text = batch.phones.shape[1]
        wanted = torch.zeros(len(work), text + batch.tokens.shape[1], dtype=torch.long)
        asked = torch.zeros(wanted.shape, dtype=torch.bool)
        for row, item in enumerate(work):
            places = _places(item, text)
            wanted[row, places], asked[row, places] = self.pointers[item.name], True
        return wanted.to(batch.phones.device), asked.to(batch.phones.device)

    def _narrowed(self, work: Sequence[GPTItem], batch: GPTBatch, seen: Tensor, wanted: Tensor) -> dict[int, Tensor]:
        """(B, H, S, S) of each layer with pointers: these see the phoneme before and the one behind it, and the last
        one when the end is due."""
        text = batch.phones.shape[1]
        narrow = seen[:, 0].clone()
        slot = torch.arange(narrow.shape[2], device=narrow.device)
        for row, item in enumerate(work):
            places, last = _places(item, text), len(item.phones) - 1
            before = F.pad(wanted[row, places[:-1]], (1, 0))[:, None]
            narrow[row, places] = (slot == before) | (slot == (before + 1).clamp_max(last))
            narrow[row, text + len(item.tokens) - 1] = slot == last
        narrowed = {}
        for layer in {layer for layer, _ in self.heads}:
            narrowed[layer] = seen.repeat(1, self._attention(layer).heads, 1, 1)
            for head in (head for its, head in self.heads if its == layer):
                narrowed[layer][:, head] = narrow
        return narrowed


def limit_steps(pointer: Tensor) -> Tensor:
    """(T,) indices that never rise by more than one: where a token speaks two phonemes, those before it give way."""
    steps = torch.arange(len(pointer))
    late = (pointer - steps).flip(0).cummax(0).values.flip(0) + steps
    return torch.minimum(late, steps + 1)


def _places(item: GPTItem, text: int) -> Tensor:
    """(T,) where each token of a row is predicted: a row's own last phoneme predicts its first one."""
    places = torch.arange(len(item.tokens)) + text - 1
    places[0] = len(item.phones) - 1
    return places


def _surprise(layer: SelfAttention, head: int, h: Tensor, seen: Tensor, wanted: Tensor, asked: Tensor) -> Tensor:
    """The negative logarithm of the attention that would fall on the phoneme if the head saw everything, summed."""
    width = h.shape[2] // layer.heads
    part = slice(head * width, (head + 1) * width)
    weight, bias = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    q, k = (F.linear(h, weight[i][part], bias[i][part]) for i in (0, 1))
    scores = (q @ k.transpose(1, 2)).float() / width**0.5
    logs = scores.masked_fill(~seen, -1e9).log_softmax(dim=-1)
    return -logs.gather(2, wanted[:, :, None])[:, :, 0][asked].sum()
