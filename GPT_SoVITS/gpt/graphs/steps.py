"""The operations of one replay: so many steps of every row in a bucket, in memory whose addresses never change.

No operation depends on a value that the host would have to read, and none has a size that a value decides; what the
steps of a replay have in common is computed once for all of them. The numbers are those of TorchDecoder and RowSampler.

Shapes: T steps, B rows of the bucket, S slots of each, E width, H heads, d = E / H, V tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.gpt.graphs.buckets import PLAIN_TOP_K, REPLAY_STEPS, GraphBucket
from GPT_SoVITS.gpt.graphs.buffers import (
    ALIVE,
    DIVISOR,
    DRAWN,
    END,
    KEEP_ALL,
    KEYS,
    LIMIT,
    MIN_TOKENS,
    NUCLEUS,
    OWNER,
    PENALTY,
    POSITION,
    TOP_K,
    StepBuffers,
)
from GPT_SoVITS.gpt.graphs.weights import StaticWeights
from GPT_SoVITS.gpt.packed_weights import PackedLayer
from GPT_SoVITS.gpt.pointer import Pointers
from GPT_SoVITS.gpt.sampling import SamplingRules, apply_repetition_penalty, draw, probabilities
from GPT_SoVITS.noise import ROUNDS, exponential_noise_at


class _Plan(NamedTuple):
    """What the steps of a replay need to know beforehand, (T, B, …) each."""

    noise: Tensor
    """(T, B, V)."""
    decided: Tensor
    """(T, B): the token that is not drawn, or -1; V, which stands for none, in a row that does not advance."""
    is_decided: Tensor
    is_blocked: Tensor
    """(T, B, V), true for tokens that cannot be drawn yet."""
    positions: Tensor
    """(T, B, E), added to the embeddings of the tokens."""
    targets: Tensor
    """(T, B): the slots of all rows that keys and values are written to."""
    masks: Tensor
    """(T, B, 1, S), added to scores."""


class DecodingSteps:
    """The steps of one bucket, on buffers and static weights."""

    def __init__(self, buffers: StepBuffers, weights: StaticWeights, bucket: GraphBucket) -> None:
        """Make the views that the steps work on."""
        shape, rows = buffers.shape, bucket.rows
        self.buffers, self.weights, self.bucket, self.shape = buffers, weights, bucket, shape
        self.numbers = buffers.numbers[:rows]
        self.logits = buffers.logits[:rows]
        self.penalties = buffers.penalties[:rows]
        self.row_penalties = buffers.factors[:rows, PENALTY : PENALTY + 1]
        self.pointer_state = buffers.pointer_state[:rows]
        self.keys = self.numbers[:, KEYS:].unflatten(1, (ROUNDS, 2))
        slots = buffers.kv[:, : rows * bucket.length * 2 * shape.width].unflatten(1, (-1, 2 * shape.width))
        self.flat = slots.unbind()
        """(B · S, 2E) of each layer."""
        heads = slots.view(shape.layers, rows, bucket.length, 2, shape.heads, -1).permute(0, 3, 1, 4, 2, 5)
        self.caches = [(keys, values) for keys, values in heads]
        """(B, H, S, d), keys and values of each layer."""
        self.pointers = Pointers(shape.pointers, weights.statistics)
        self.pointers.texts, self.pointers.state = buffers.texts[:rows], buffers.pointer_state[:rows]

    def run(self) -> None:
        """Draw the tokens of all steps, and read each of them."""
        active = (self.numbers[:, OWNER] == self.buffers.owner) & (self.numbers[:, ALIVE] != 0)  # (B,)
        rules = self._rules()
        plan = self._plan(active)
        tokens = []
        for step in range(REPLAY_STEPS):
            token = self._draw(rules, plan, step)
            self._read(token, active, plan, step)
            tokens.append(token)
        drawn = torch.stack(tokens, dim=1)  # (B, T)
        self.buffers.tokens[: self.bucket.rows].copy_(drawn)
        self.numbers[:, END : DRAWN + 1].add_(active[:, None], alpha=REPLAY_STEPS)
        has_ended = (drawn == self.shape.end).any(dim=1) | (self.numbers[:, DRAWN] >= self.numbers[:, LIMIT])
        self.numbers[:, ALIVE].masked_fill_(active & has_ended, 0)

    def _rules(self) -> SamplingRules:
        factors = self.buffers.factors[: self.bucket.rows]
        general, top_k = self.bucket.general, self.numbers[:, TOP_K : TOP_K + 1]
        return SamplingRules(
            top_p=factors[:, NUCLEUS : NUCLEUS + 1] if general else None,
            temperature=factors[:, DIVISOR : DIVISOR + 1],
            top_k=top_k,
            keep_all=self.numbers[:, KEEP_ALL : KEEP_ALL + 1] != 0 if general else None,
            max_top_k=self.shape.vocabulary if general else PLAIN_TOP_K,
        )

    def _plan(self, active: Tensor) -> _Plan:
        buffers, rows, length = self.buffers, self.bucket.rows, self.bucket.length
        advance = buffers.steps * active  # (T, B)
        ends, drawn = self.numbers[:, END] + advance, self.numbers[:, DRAWN] + advance
        forced = buffers.forced[:rows].gather(1, drawn.T).T
        decided = forced.masked_fill(~active, self.shape.vocabulary)
        is_hidden = buffers.slots[:length] > ends[:, :, None]
        masks = torch.zeros(is_hidden.shape, dtype=self.shape.dtype, device=self.shape.device)
        return _Plan(
            noise=exponential_noise_at(self.keys, drawn.T, self.shape.vocabulary).transpose(0, 1),
            decided=decided,
            is_decided=decided >= 0,
            is_blocked=(drawn < self.numbers[:, MIN_TOKENS])[:, :, None] & buffers.is_end,
            positions=F.embedding(self.numbers[:, POSITION] + advance, self.weights.positions),
            targets=buffers.row_numbers[:rows] * length + ends,
            masks=masks.masked_fill_(is_hidden, -torch.inf)[:, :, None],
        )

    def _draw(self, rules: SamplingRules, plan: _Plan, step: int) -> Tensor:
        """Draw a token of every row, (B,); see RowSampler.draw."""
        z = apply_repetition_penalty(self.logits, self.penalties[:, : self.shape.vocabulary])
        z = z.masked_fill(plan.is_blocked[step], -torch.inf)
        token = draw(probabilities(z, rules), plan.noise[step])
        # The end also counts as reached when it is the likeliest token, whatever was drawn.
        token = token.masked_fill(z.argmax(dim=-1) == self.shape.end, self.shape.end)
        token = torch.where(plan.is_decided[step], plan.decided[step], token)
        self.penalties.scatter_(1, token[:, None], self.row_penalties)
        return token

    def _read(self, token: Tensor, active: Tensor, plan: _Plan, step: int) -> None:
        """Read a token of every row and write the logits of the next one; see TorchDecoder.step."""
        pointers, weights = self.pointers, self.weights
        h = F.embedding(token, weights.tokens) + plan.positions[step]
        for number, layer in enumerate(weights.layers):
            h = self._attend(number, layer, h, plan.targets[step], plan.masks[step])
            up = torch._addmm_activation(layer.up_bias, h, layer.up_weight.T)  # with a ReLU
            h = F.layer_norm(h.addmm_(up, layer.down_weight.T), h.shape[1:], *layer.norm2)
        logits = pointers.advance(F.linear(h, weights.head).float(), self.shape.end)
        self.logits.copy_(torch.where(active[:, None], logits, self.logits))
        if pointers.heads:
            self.pointer_state.copy_(torch.where(active[:, None], pointers.state, self.pointer_state))
            pointers.state = self.pointer_state  # what a graph's pool holds must not be read by the next one

    def _attend(self, number: int, layer: PackedLayer, h: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Compute attention and its norm, (B, E), after writing keys and values to their slots (B,)."""
        rows, width = h.shape
        qkv = torch.addmm(layer.in_bias, h, layer.in_weight.T)
        self.flat[number].index_copy_(0, target, qkv[:, width:])
        keys, values = self.caches[number]
        query = qkv[:, :width].view(rows, self.shape.heads, 1, -1)
        visible = mask[:, None]  # (B, 1, 1, S)
        heads = self.pointers.heads.get(number, ())
        if heads:
            visible = self.pointers.restrict_mask(number, mask.expand(-1, self.shape.heads, -1))[:, :, None]
        for head in heads:
            key = keys[:, head].transpose(1, 2)  # (B, d, S)
            score = torch.baddbmm(visible[:, head], query[:, head], key, alpha=query.shape[3] ** -0.5)
            self.pointers.observe_head(score.softmax(dim=-1)[:, 0])
        attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=visible)
        out = torch.addmm(layer.out_bias, attended.reshape(rows, width), layer.out_weight.T)
        return F.layer_norm(h + out, (width,), *layer.norm1)
