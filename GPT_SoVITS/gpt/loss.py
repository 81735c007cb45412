"""The training loss: cross-entropy, and a preference over damaged rows (specification s1-gpt §8).

By default a batch's loss is the sum of what its rows give alone. `compat="reference"` reproduces upstream, which masks
a row's first phonemes as if they were padding and counts end tokens in the padding (§14.2).

Shapes: B rows, N phonemes, T tokens, S = N + T, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from GPT_SoVITS.gpt.model import Text2Semantic, prefix_visibility

Compat = Literal["reference"] | None

IGNORE_INDEX = -100
"""The target where nothing is predicted."""
PREFERENCE_BETA = 0.2


@dataclass(frozen=True, slots=True)
class GPTBatch:
    """Rows of different length, padded on the right."""

    phonemes: Tensor
    """(B, N) ids, padded with 0."""
    phoneme_lengths: Tensor
    """(B,)"""
    tokens: Tensor
    """(B, T) semantic tokens; beyond a row's length only upstream's preference reads them."""
    token_lengths: Tensor
    """(B,)"""
    bert: Tensor | None
    """(B, 1024, N), zeros where a row has none; None where no row has any."""

    def to(self, device: torch.device) -> GPTBatch:
        """Return the batch on a device."""
        bert = None if self.bert is None else self.bert.to(device, non_blocking=True)
        return GPTBatch(
            self.phonemes.to(device, non_blocking=True),
            self.phoneme_lengths.to(device, non_blocking=True),
            self.tokens.to(device, non_blocking=True),
            self.token_lengths.to(device, non_blocking=True),
            bert,
        )


class InputOverrides(NamedTuple):
    """What the network reads in place of the batch's own inputs; the targets stay."""

    tokens: Tensor
    """(B, T)."""
    visible: Mapping[int, Tensor]
    """(B, H, S, S) of some layers, counted from 0: what each head sees."""


@dataclass(frozen=True, slots=True)
class GPTLoss:
    """The loss of one batch and what to report of it."""

    loss: Tensor
    """Summed over rows and positions, with a gradient."""
    cross_entropy: Tensor
    """The part of `loss` that is not preference."""
    logits: Tensor
    """(B, T + 1, V)"""
    targets: Tensor
    """(B, T + 1), IGNORE_INDEX where nothing is predicted."""

    @property
    def target_count(self) -> int:
        """Number of predicted tokens."""
        return int((self.targets != IGNORE_INDEX).sum())

    def top3_accuracy(self, end: int) -> float:
        """Return the share of targets, end tokens excluded, among the three likeliest tokens."""
        hits, count = self.top3_hits(end)
        return hits / count

    def top3_hits(self, end: int) -> tuple[int, int]:
        """Return the number of targets, end tokens excluded, among the three likeliest tokens, and of all of them."""
        counted = (self.targets != IGNORE_INDEX) & (self.targets != end)
        hits = (self.logits.topk(3, dim=-1).indices == self.targets[..., None]).any(dim=-1)
        return int((hits & counted).sum()), int(counted.sum())


def compute_loss(
    model: Text2Semantic,
    batch: GPTBatch,
    *,
    preference: bool = False,
    generator: torch.Generator | None = None,
    compat: Compat = None,
    overrides: InputOverrides | None = None,
) -> GPTLoss:
    """Compute the loss of one batch.

    Args:
        model: the GPT.
        batch: the rows.
        preference: whether the preference of each row over a damaged copy is added.
        generator: draws the damage; the global random generator by default.
        compat: see the module.
        overrides: inputs in place of the batch's own.
    """
    logits, targets = predict(model, batch, compat, overrides)
    chosen = row_log_likelihood(logits, targets)  # (B,)
    cross_entropy = -chosen.sum()
    loss = cross_entropy
    if preference:
        damaged = damage(batch, *draw_damage(batch, generator, compat), compat=compat)
        rejected = row_log_likelihood(*predict(model, damaged, compat))
        loss = loss - F.logsigmoid(PREFERENCE_BETA * (chosen - rejected)).mean()
    return GPTLoss(loss, cross_entropy.detach(), logits.detach(), targets)


def predict(
    model: Text2Semantic, batch: GPTBatch, compat: Compat = None, overrides: InputOverrides | None = None
) -> tuple[Tensor, Tensor]:
    """Return logits (B, T + 1, V) and targets (B, T + 1): every token of a row, and its end."""
    network, end = model.model, model.config.end_token
    targets = shift_targets(batch, end, compat)
    text_length, length = batch.phonemes.shape[1], batch.phonemes.shape[1] + batch.tokens.shape[1]
    tokens = batch.tokens if overrides is None else overrides.tokens
    inputs = _replace_padding(tokens, batch.token_lengths, end)
    h = torch.cat([network.embed_text(batch.phonemes, batch.bert), network.embed_tokens(inputs)], dim=1)  # (B, S, E)
    h = network.h(h, visibility(batch, compat), {} if overrides is None else overrides.visible)
    if compat == "reference":
        read = h[:, text_length - 1 : length]
    else:
        rows = torch.arange(len(h), device=h.device)
        first = h[rows, batch.phoneme_lengths - 1]  # (B, E): a row's own last phoneme predicts its first token
        read = torch.cat([first[:, None], h[:, text_length:]], dim=1)
    return network.ar_predict_layer(read), targets


def row_log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum the log-probabilities of each row's targets, (B,)."""
    losses = F.cross_entropy(logits.float().transpose(1, 2), targets, ignore_index=IGNORE_INDEX, reduction="none")
    return -losses.sum(dim=1)


def shift_targets(batch: GPTBatch, end: int, compat: Compat = None) -> Tensor:
    """Return the targets (B, T + 1): the tokens, then the end once (upstream repeats it in the padding)."""
    index = torch.arange(batch.tokens.shape[1] + 1, device=batch.tokens.device)[None]
    lengths = batch.token_lengths[:, None]
    targets = F.pad(_replace_padding(batch.tokens, batch.token_lengths, end), (0, 1), value=end)
    return targets if compat == "reference" else targets.masked_fill(index > lengths, IGNORE_INDEX)


def visibility(batch: GPTBatch, compat: Compat = None) -> Tensor:
    """Return the attention mask (B, 1, S, S), true where a query sees a key."""
    text_length = batch.phonemes.shape[1]
    length = text_length + batch.tokens.shape[1]
    device = batch.phonemes.device
    index = torch.arange(length, device=device)[None]  # (1, S)
    phonemes, tokens = batch.phoneme_lengths[:, None], batch.token_lengths[:, None]
    hidden = (index >= phonemes) & (index < text_length)  # (B, S)
    if compat == "reference":
        hidden = index < text_length - phonemes
    keys = ~(hidden | (index >= text_length + tokens))
    return (prefix_visibility(text_length, length, device)[None] & keys[:, None])[:, None]


def draw_damage(
    batch: GPTBatch, generator: torch.Generator | None, compat: Compat = None
) -> tuple[list[int], list[list[int]]]:
    """Draw per row an operation, 0 to repeat and 1 to drop, and the range [a, b] that it acts on."""
    operations, ranges = [], []
    padded = batch.tokens.shape[1]
    for length in batch.token_lengths.tolist():
        operations.append(int(torch.randint(0, 2, (1,), generator=generator)))
        top = padded if compat == "reference" else length
        ranges.append(sorted(torch.randint(0, top, (2,), generator=generator).tolist()))
    return operations, ranges


def damage(batch: GPTBatch, operations: list[int], ranges: list[list[int]], *, compat: Compat = None) -> GPTBatch:
    """Repeat or drop a part of every row (§8.3); in upstream, of its padding, too."""
    rows = []
    lengths = [batch.tokens.shape[1]] * len(batch.tokens) if compat == "reference" else batch.token_lengths.tolist()
    for row, length, operation, (a, b) in zip(batch.tokens, lengths, operations, ranges):
        own = row[:length]
        parts = [own[:b], own[a:b], own[b:]] if operation == 0 else [own[:a], own[b:]]
        rows.append(torch.cat(parts))
    return GPTBatch(
        batch.phonemes,
        batch.phoneme_lengths,
        pad_sequence(rows, batch_first=True, padding_value=0),
        torch.tensor([len(row) for row in rows], device=batch.tokens.device),
        batch.bert,
    )


def _replace_padding(tokens: Tensor, lengths: Tensor, end: int) -> Tensor:
    """Put the end token in the place of padding, (B, T)."""
    index = torch.arange(tokens.shape[1], device=tokens.device)[None]
    return tokens.masked_fill(index >= lengths[:, None], end)
