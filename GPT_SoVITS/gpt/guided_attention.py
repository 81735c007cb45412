"""Guided attention: training a GPT's pointers, heads that learn which phoneme each token speaks (see pointer.py).

Without this, a model of nano's size babbles in a speaker's voice for hours before it follows the text. A pointer has a
loss of its own, and sees two phonemes as it does in generation; the rest of the model learns to trust it. Some of the
input tokens are replaced by random ones, as the model's own will be wrong.

Shapes: B rows, H heads, T tokens, S positions: phonemes, then tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.gpt.data import GPTItem
from GPT_SoVITS.gpt.loss import Compat, GPTBatch, GPTLoss, InputOverrides, compute_loss, visibility
from GPT_SoVITS.gpt.model import SelfAttention, Text2Semantic

POINTER_WEIGHT = 0.5
"""Of a token's negative log-likelihood of its phoneme, beside that of itself."""
WRONG_TOKENS = 0.12
"""Share of the input tokens that are replaced."""


class GuidedAttention:
    """The pointer loss of each batch."""

    def __init__(self, model: Text2Semantic, pointers: Mapping[str, Tensor]) -> None:
        """Teach `pointers`: the phoneme index of each token of an item, (T,), by the item's name."""
        self.model = model
        self.heads = model.config.pointers
        self.pointers = pointers

    def compute_loss(
        self, items: Sequence[GPTItem], batch: GPTBatch, *, preference: bool = False, compat: Compat = None
    ) -> GPTLoss:
        """Compute the loss of a batch, which holds these items, with that of the pointers.

        Draws from the global random generator.
        """
        visible = visibility(batch)  # (B, 1, S, S)
        targets, has_target = self._pointer_targets(items, batch)
        wrong = (torch.rand(batch.tokens.shape) < WRONG_TOKENS).to(batch.tokens.device)
        random_tokens = torch.randint(self.model.config.end_token, batch.tokens.shape).to(batch.tokens)
        tokens = torch.where(wrong, random_tokens, batch.tokens)
        overrides = InputOverrides(tokens, self._restricted_visibility(items, batch, visible, targets))
        with self._record_inputs() as inputs:
            result = compute_loss(self.model, batch, preference=preference, compat=compat, overrides=overrides)
        pointer_loss = result.loss.new_zeros(())
        for layer, head in self.heads:
            attention = self._attention(layer)
            pointer_loss = pointer_loss + _pointer_loss(
                attention, head, inputs[layer], visible[:, 0], targets, has_target
            )
        return replace(result, loss=result.loss + POINTER_WEIGHT * pointer_loss)

    def _attention(self, layer: int) -> SelfAttention:
        attention = self.model.model.h.layers[layer].self_attn
        assert isinstance(attention, SelfAttention)
        return attention

    @contextmanager
    def _record_inputs(self) -> Iterator[dict[int, Tensor]]:
        """Record the inputs (B, S, E) of the layers that have pointers, in their first forward pass."""
        inputs: dict[int, Tensor] = {}

        def recorder(layer: int) -> Callable[..., None]:
            def hook(_module: object, arguments: tuple[Tensor, ...], _result: Tensor) -> None:
                inputs.setdefault(layer, arguments[0])

            return hook

        layers = {layer for layer, _ in self.heads}
        hooks = [self._attention(layer).register_forward_hook(recorder(layer)) for layer in layers]
        try:
            yield inputs
        finally:
            for hook in hooks:
                hook.remove()

    def _pointer_targets(self, items: Sequence[GPTItem], batch: GPTBatch) -> tuple[Tensor, Tensor]:
        """Return the phoneme index that each position should point at, (B, S), and which positions have one, (B, S)."""
        text = batch.phonemes.shape[1]
        targets = torch.zeros(len(items), text + batch.tokens.shape[1], dtype=torch.long)
        has_target = torch.zeros(targets.shape, dtype=torch.bool)
        for row, item in enumerate(items):
            positions = _prediction_positions(item, text)
            targets[row, positions], has_target[row, positions] = self.pointers[item.name], True
        return targets.to(batch.phonemes.device), has_target.to(batch.phonemes.device)

    def _restricted_visibility(
        self, items: Sequence[GPTItem], batch: GPTBatch, visible: Tensor, targets: Tensor
    ) -> dict[int, Tensor]:
        """Return what each head sees, (B, H, S, S), in the layers that have pointers.

        Pointers see the phoneme of the previous token and the next one, and the last phoneme where the end is due.
        """
        text = batch.phonemes.shape[1]
        restricted = visible[:, 0].clone()
        slot = torch.arange(restricted.shape[2], device=restricted.device)
        for row, item in enumerate(items):
            positions, last = _prediction_positions(item, text), len(item.phonemes) - 1
            before = F.pad(targets[row, positions[:-1]], (1, 0))[:, None]
            restricted[row, positions] = (slot == before) | (slot == (before + 1).clamp_max(last))
            restricted[row, text + len(item.tokens) - 1] = slot == last
        layers = {}
        for layer in {layer for layer, _ in self.heads}:
            layers[layer] = visible.repeat(1, self._attention(layer).heads, 1, 1)
            for head in (head for pointer_layer, head in self.heads if pointer_layer == layer):
                layers[layer][:, head] = restricted
        return layers


def limit_steps(pointer: Tensor) -> Tensor:
    """Make indices (T,) rise by one at most: where a token speaks two phonemes, those before it give way."""
    steps = torch.arange(len(pointer))
    late = (pointer - steps).flip(0).cummax(0).values.flip(0) + steps
    return torch.minimum(late, steps + 1)


def _prediction_positions(item: GPTItem, text: int) -> Tensor:
    """Return where each token of a row is predicted, (T,): a row's own last phoneme predicts its first token."""
    positions = torch.arange(len(item.tokens)) + text - 1
    positions[0] = len(item.phonemes) - 1
    return positions


def _pointer_loss(
    layer: SelfAttention, head: int, h: Tensor, visible: Tensor, targets: Tensor, has_target: Tensor
) -> Tensor:
    """Sum the negative logarithms of the attention on the target phonemes, if the head saw everything."""
    width = h.shape[2] // layer.heads
    part = slice(head * width, (head + 1) * width)
    weight, bias = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    q, k = (F.linear(h, weight[i][part], bias[i][part]) for i in (0, 1))  # (B, S, d)
    scores = (q @ k.transpose(1, 2)).float() / width**0.5
    logs = scores.masked_fill(~visible, -1e9).log_softmax(dim=-1)
    return -logs.gather(2, targets[:, :, None])[:, :, 0][has_target].sum()
