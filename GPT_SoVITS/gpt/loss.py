"""What training minimises: cross-entropy, and a preference over damaged rows (specification s1-gpt §8).

By default a batch's loss is the sum of what its rows give alone. `compat="reference"` reproduces the
reference, which hides a row's first phonemes as if they were padding and counts ends on padding (§14.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.gpt.model import Text2Semantic, prefix_visibility

Compat = Literal["reference"] | None

IGNORE_INDEX = -100
"""Target where nothing is asked."""
PREFERENCE_BETA = 0.2


@dataclass(frozen=True, slots=True)
class GPTBatch:
    """Rows of different length, padded on the right."""

    phones: Tensor
    """(B, N) ids, padded with 0."""
    phone_lengths: Tensor
    """(B,)"""
    tokens: Tensor
    """(B, T) semantic tokens; beyond a row's length only the reference's preference reads them."""
    token_lengths: Tensor
    """(B,)"""
    bert: Tensor | None
    """(B, 1024, N), zeros where a row has none; None where no row has any."""

    def to(self, device: torch.device) -> GPTBatch:
        bert = None if self.bert is None else self.bert.to(device)
        return GPTBatch(
            self.phones.to(device),
            self.phone_lengths.to(device),
            self.tokens.to(device),
            self.token_lengths.to(device),
            bert,
        )


class InputOverrides(NamedTuple):
    """How a batch is read, where that is not as it is."""

    tokens: Tensor
    """(B, T), in the place of the batch's own; what is asked for stays."""
    visible: Mapping[int, Tensor]
    """(B, H, S, S) of some layers, counted from 0: what each head sees."""


@dataclass(frozen=True, slots=True)
class GPTLoss:
    """One batch's loss and what to report of it."""

    loss: Tensor
    """Summed over rows and positions, with a gradient."""
    cross_entropy: Tensor
    """The part of `loss` that is not preference."""
    logits: Tensor
    """(B, T + 1, V)"""
    targets: Tensor
    """(B, T + 1), IGNORE_INDEX where nothing is asked."""

    @property
    def asked(self) -> int:
        """How many tokens were asked for."""
        return int((self.targets != IGNORE_INDEX).sum())

    def top3_accuracy(self, end: int) -> float:
        """Share of targets, end tokens apart, among the three likeliest."""
        found, counted = self.top3_hits(end)
        return found / counted

    def top3_hits(self, end: int) -> tuple[int, int]:
        """How many targets, end tokens apart, are among the three likeliest, and how many there are."""
        counted = (self.targets != IGNORE_INDEX) & (self.targets != end)
        found = (self.logits.topk(3, dim=-1).indices == self.targets[..., None]).any(dim=-1)
        return int((found & counted).sum()), int(counted.sum())


def compute_loss(
    model: Text2Semantic,
    batch: GPTBatch,
    *,
    preference: bool = False,
    generator: torch.Generator | None = None,
    compat: Compat = None,
    reading: InputOverrides | None = None,
) -> GPTLoss:
    """The loss of one batch; `generator` draws the damage that the preference is over."""
    logits, targets = predict(model, batch, compat, reading)
    chosen = row_log_likelihood(logits, targets)  # (B,)
    cross_entropy = -chosen.sum()
    loss = cross_entropy
    if preference:
        damaged = damage(batch, *draw_damage(batch, generator, compat), compat=compat)
        rejected = row_log_likelihood(*predict(model, damaged, compat))
        loss = loss - F.logsigmoid(PREFERENCE_BETA * (chosen - rejected)).mean()
    return GPTLoss(loss, cross_entropy.detach(), logits.detach(), targets)


def predict(
    model: Text2Semantic, batch: GPTBatch, compat: Compat = None, reading: InputOverrides | None = None
) -> tuple[Tensor, Tensor]:
    """Logits (B, T + 1, V) and targets (B, T + 1): every token of a row, and its end."""
    network, end = model.model, model.dimensions.end
    targets = shift_targets(batch, end, compat)
    text_length, length = batch.phones.shape[1], batch.phones.shape[1] + batch.tokens.shape[1]
    inputs = _inputs(batch, end, None if reading is None else reading.tokens)
    h = torch.cat([network.embed_text(batch.phones, batch.bert), network.embed_tokens(inputs)], dim=1)  # (B, S, E)
    h = network.h(h, visibility(batch, compat), {} if reading is None else reading.visible)
    if compat == "reference":
        read = h[:, text_length - 1 : length]
    else:
        rows = torch.arange(len(h), device=h.device)
        first = h[rows, batch.phone_lengths - 1]  # (B, E): a row's own last phoneme predicts its first token
        read = torch.cat([first[:, None], h[:, text_length:]], dim=1)
    return network.ar_predict_layer(read), targets


def row_log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """(B,): log-probabilities of a row's targets, summed."""
    losses = F.cross_entropy(logits.float().transpose(1, 2), targets, ignore_index=IGNORE_INDEX, reduction="none")
    return -losses.sum(dim=1)


def shift_targets(batch: GPTBatch, end: int, compat: Compat = None) -> Tensor:
    """(B, T + 1): the tokens, the end, then nothing more (the reference asks for the end again and again)."""
    index = torch.arange(batch.tokens.shape[1] + 1, device=batch.tokens.device)[None]
    lengths = batch.token_lengths[:, None]
    targets = F.pad(_inputs(batch, end), (0, 1), value=end)
    return targets if compat == "reference" else targets.masked_fill(index > lengths, IGNORE_INDEX)


def visibility(batch: GPTBatch, compat: Compat = None) -> Tensor:
    """(B, 1, S, S), true where a query sees a key."""
    text_length = batch.phones.shape[1]
    length = text_length + batch.tokens.shape[1]
    device = batch.phones.device
    index = torch.arange(length, device=device)[None]  # (1, S)
    phones, tokens = batch.phone_lengths[:, None], batch.token_lengths[:, None]
    hidden = (index >= phones) & (index < text_length)  # (B, S)
    if compat == "reference":
        hidden = index < text_length - phones
    keys = ~(hidden | (index >= text_length + tokens))
    return (prefix_visibility(text_length, length, device)[None] & keys[:, None])[:, None]


def draw_damage(
    batch: GPTBatch, generator: torch.Generator | None, compat: Compat = None
) -> tuple[list[int], list[list[int]]]:
    """Per row an operation, 0 to repeat and 1 to drop, and the range [a, b] it acts on."""
    operations, ranges = [], []
    padded = batch.tokens.shape[1]
    for length in batch.token_lengths.tolist():
        operations.append(int(torch.randint(0, 2, (1,), generator=generator)))
        top = padded if compat == "reference" else length
        ranges.append(sorted(torch.randint(0, top, (2,), generator=generator).tolist()))
    return operations, ranges


def damage(batch: GPTBatch, operations: list[int], ranges: list[list[int]], *, compat: Compat = None) -> GPTBatch:
    """The batch with a part of every row said twice or left out (§8.3); in the reference, padding too."""
    rows = []
    lengths = [batch.tokens.shape[1]] * len(batch.tokens) if compat == "reference" else batch.token_lengths.tolist()
    for row, length, operation, (a, b) in zip(batch.tokens, lengths, operations, ranges):
        own = row[:length]
        parts = [own[:b], own[a:b], own[b:]] if operation == 0 else [own[:a], own[b:]]
        rows.append(torch.cat(parts))
    return GPTBatch(
        batch.phones,
        batch.phone_lengths,
        torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0),
        torch.tensor([len(row) for row in rows], device=batch.tokens.device),
        batch.bert,
    )


def _inputs(batch: GPTBatch, end: int, tokens: Tensor | None = None) -> Tensor:
    """(B, T): the tokens, with the end token in the place of padding."""
    index = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)[None]
    return (batch.tokens if tokens is None else tokens).masked_fill(index >= batch.token_lengths[:, None], end)
