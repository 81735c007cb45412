"""Heads that were taught which phoneme each token speaks, held to the text while tokens are made.

Such a head sees, of all that came before, only the phoneme that the last token spoke and the one behind it. So no word
is left out, none is said twice, and the end comes when the text is over. Of nano alone, whose training tells some heads
the alignment (`pointers` in its config); attention windows are as old as attention to speech (Chorowski et al. 2015).

Shapes: B rows, H heads, N phonemes of a text.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_TOKENS_PER_PHONEME = 12
"""Tokens that one phoneme may last, half a second: no speech lasts longer, a lost model does."""

Heads = tuple[tuple[int, int], ...]


class PointerStatistics(NamedTuple):
    """What the speech of the base's training says of a phoneme; zeros say nothing."""

    tokens: Tensor
    """(phonemes, V), added to the logits of a token that speaks it."""
    moving: Tensor
    """(phonemes, MAX_TOKENS_PER_PHONEME), added to the log-odds of moving on after so many tokens, from 1."""


class Pointers:
    """Where each row is in its text; `narrow` and `hear` are for layers that `heads` names. Without heads, nothing."""

    def __init__(self, heads: Heads, counts: PointerStatistics) -> None:
        """`heads` are (layer, head), counted from 0."""
        self.counts = counts
        self.heads: dict[int, list[int]] = {}
        for layer, head in heads:
            self.heads.setdefault(layer, []).append(head)
        self.texts = torch.empty(0, 0, dtype=torch.long, device=counts.tokens.device)
        """(B, N), padded."""
        self.state = self.texts.new_empty(0, 3)
        """(B, 3): the phoneme that the last token spoke, the last one of the text, how many tokens the former lasts."""
        self._heard: list[Tensor] = []

    def add(self, phones: Tensor) -> None:
        """A row whose phonemes are `phones` (N,)."""
        if not self.heads:
            return
        longest = max(self.texts.shape[1], len(phones))
        rows = [F.pad(text, (0, longest - text.shape[-1])) for text in (self.texts, phones[None])]
        self.texts = torch.cat(rows)
        self.state = torch.cat([self.state, self.state.new_tensor([[0, len(phones) - 1, 0]])])

    def join(self, other: Pointers) -> None:
        """Rows of another follow those that are there."""
        if not self.heads:
            return
        for text, (at, last, lasted) in zip(other.texts, other.state.tolist(), strict=True):
            self.add(text[: last + 1])
            self.state[-1] = self.state.new_tensor([at, last, lasted])

    def drop(self, row: int) -> None:
        """As the decoder drops it: the last row takes its number."""
        if not self.heads:
            return
        for name in ("texts", "state"):
            rows = getattr(self, name)
            rows[row] = rows[-1]
            setattr(self, name, rows[:-1])

    def narrow(self, layer: int, mask: Tensor) -> Tensor:
        """(B, H, slots) that is added to scores, a row's phonemes in its first slots: pointers keep two of them."""
        at, last, lasted = self.state.T[:, :, None]
        slot = torch.arange(mask.shape[2], device=mask.device)
        stays = (slot == at) & ((lasted < MAX_TOKENS_PER_PHONEME) | (at == last))
        seen = stays | (slot == (at + 1).minimum(last))
        mask = mask.clone()
        for head in self.heads[layer]:
            mask[:, head] = torch.zeros_like(mask[:, head]).masked_fill_(~seen, -torch.inf)
        return mask

    def hear(self, layer: int, weight: Tensor) -> None:
        """What the heads of a layer saw, (B, H, slots)."""
        self._heard.append(weight[:, self.heads[layer]].sum(dim=1))

    def move(self, logits: Tensor, end: int) -> Tensor:
        """Take what was heard for what the next token speaks; logits (B, V) bent towards that phoneme's tokens, whose
        end is out of reach before the last phoneme was spoken, and certain when that has lasted too long."""
        if not self.heads:
            return logits
        at, last, lasted = self.state.T
        heard = torch.stack(self._heard).sum(dim=0).float().log()
        self._heard = []
        after = (at + 1).minimum(last)
        odds = heard.gather(1, after[:, None])[:, 0] - heard.gather(1, at[:, None])[:, 0]
        odds = odds + self.counts.moving[self._phones(at), (lasted - 1).clamp(0, MAX_TOKENS_PER_PHONEME - 1)]
        now = torch.where((odds > 0) & (lasted > 0), after, at)
        self.state = torch.stack([now, last, torch.where(now == at, lasted + 1, 1)], dim=1)
        logits = logits + self.counts.tokens[self._phones(now)]
        spoken = (at == last) & (lasted > 0)
        logits[~spoken, end] = -torch.inf
        logits[spoken & (lasted >= MAX_TOKENS_PER_PHONEME), end] = torch.inf
        return logits

    def _phones(self, places: Tensor) -> Tensor:
        """(B,) ids."""
        return self.texts.gather(1, places[:, None])[:, 0]
