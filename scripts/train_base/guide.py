"""A training of the GPT in which some attention heads are told which phoneme each token speaks.

Without it, a model of this size babbles in a speaker's voice for hours before it finds the text. The told heads become
a pointer that moves along the phonemes, and everything else is learnt around it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.gpt.data import Item
from GPT_SoVITS.gpt.model import Attention
from GPT_SoVITS.gpt.objective import Batch, Objective, visibility
from GPT_SoVITS.gpt.training import Training

HEADS = ((1, 0), (2, 0))
"""(layer, head), counted from 0."""
WEIGHT = 0.5
"""Of a token's surprise about its phoneme, beside its surprise about itself."""


class GuidedTraining(Training):
    """`pointers` holds, by the clip's name, the phoneme of each of its tokens."""

    pointers: dict[str, np.ndarray]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Phonemes of every clip."""
        return {item.name: len(item.phones) for item in self.items}

    def objective(self, work: list[Item], batch: Batch) -> Objective:
        heard: dict[int, Tensor] = {}
        hooks = [
            self.model.model.h.layers[layer].self_attn.register_forward_hook(
                lambda _module, inputs, _output, layer=layer: heard.update({layer: inputs[0]})
            )
            for layer, _ in HEADS
        ]
        result = super().objective(work, batch)
        for hook in hooks:
            hook.remove()
        wanted, asked = self._wanted(work, batch)
        seen = visibility(batch)[:, 0]  # (B, S, S)
        loss = sum(
            _surprise(self.model.model.h.layers[layer].self_attn, head, heard[layer], seen, wanted, asked)
            for layer, head in HEADS
        )
        return replace(result, loss=result.loss + WEIGHT * loss)

    def _wanted(self, work: list[Item], batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, S) phoneme that a place should look at, and where that is asked: before every token of the row."""
        length = batch.phones.shape[1] + batch.tokens.shape[1]
        wanted = torch.zeros(len(work), length, dtype=torch.long)
        asked = torch.zeros(len(work), length, dtype=torch.bool)
        for row, item in enumerate(work):
            pointer = torch.from_numpy(self._pointer(item).astype(np.int64))
            places = torch.arange(len(pointer)) + batch.phones.shape[1] - 1
            places[0] = len(item.phones) - 1  # a row's own last phoneme predicts its first token
            wanted[row, places], asked[row, places] = pointer, True
        return wanted, asked

    def _pointer(self, item: Item) -> np.ndarray:
        first, _, second = item.name.partition("+")
        if not second:
            return self.pointers[first]
        before = self.counts[first]
        return np.concatenate([self.pointers[first], self.pointers[second.rpartition("-")[0]] + before])


def _surprise(layer: Attention, head: int, h: Tensor, seen: Tensor, wanted: Tensor, asked: Tensor) -> Tensor:
    """The negative logarithm of the attention that falls on the phoneme, summed."""
    width = h.shape[2] // layer.heads
    part = slice(head * width, (head + 1) * width)
    weight, bias = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    q, k = (torch.nn.functional.linear(h, weight[i][part], bias[i][part]) for i in (0, 1))
    scores = (q @ k.transpose(1, 2)).float() / width**0.5
    logs = scores.masked_fill(~seen, -1e9).log_softmax(dim=-1)
    return -logs.gather(2, wanted[:, :, None])[:, :, 0][asked].sum()
