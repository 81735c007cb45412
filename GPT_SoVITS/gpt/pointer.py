"""Attention heads that were trained to point at the phoneme of each token, held to the text during generation.

Such a head sees, of all that came before, only the phoneme that the last token spoke and the one after it. So no word
is skipped, none is repeated, and the end comes when the text is over. Of nano alone, whose training teaches some heads
the alignment (`pointers` in its config); attention windows are as old as attention to speech (Chorowski et al. 2015).

Shapes: B rows, H heads, N phonemes of a text, V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_TOKENS_PER_PHONEME = 12
"""Half a second: no speech holds a phoneme longer, but a model that lost the text does."""


class PointerStatistics(NamedTuple):
    """Statistics of the base's training speech about each phoneme; zeros change nothing."""

    tokens: Tensor
    """(phonemes, V), added to the logits of a token that speaks the phoneme."""
    moving: Tensor
    """(phonemes, MAX_TOKENS_PER_PHONEME), added to the log-odds of moving on after so many tokens, from 1."""


class Pointers:
    """Where each row is in its text.

    `restrict_mask` and `observe` are for layers in `heads`. Without heads, every method does nothing.
    """

    def __init__(self, heads: Sequence[tuple[int, int]], statistics: PointerStatistics) -> None:
        """Begin without rows; `heads` are (layer, head), counted from 0."""
        self.statistics = statistics
        self.heads: dict[int, list[int]] = {}
        for layer, head in heads:
            self.heads.setdefault(layer, []).append(head)
        self.texts = torch.empty(0, 0, dtype=torch.long, device=statistics.tokens.device)
        """(B, N), padded phoneme ids."""
        self.state = self.texts.new_empty(0, 3)
        """(B, 3): index of the phoneme that the last token spoke, index of the text's last one, tokens it lasts."""
        self._attention: list[Tensor] = []

    def add_row(self, phonemes: Tensor) -> None:
        """Add a row that speaks the phonemes (N,)."""
        if not self.heads:
            return
        longest = max(self.texts.shape[1], len(phonemes))
        rows = [F.pad(text, (0, longest - text.shape[-1])) for text in (self.texts, phonemes[None])]
        self.texts = torch.cat(rows)
        self.state = torch.cat([self.state, self.state.new_tensor([[0, len(phonemes) - 1, 0]])])

    def extend(self, other: Pointers) -> None:
        """Append the rows of other pointers."""
        if not self.heads:
            return
        for text, (position, last, duration) in zip(other.texts, other.state.tolist(), strict=True):
            self.add_row(text[: last + 1])
            self.state[-1] = self.state.new_tensor([position, last, duration])

    def remove_row(self, row: int) -> None:
        """Remove a row; the last one takes its number."""
        if not self.heads:
            return
        self.texts[row], self.state[row] = self.texts[-1], self.state[-1]
        self.texts, self.state = self.texts[:-1], self.state[:-1]

    def restrict_mask(self, layer: int, mask: Tensor) -> Tensor:
        """Hide all but two phonemes from the pointers of a layer.

        Args:
            layer: the layer's number.
            mask: (B, H, slots) that is added to scores; a row's phonemes are in its first slots.

        Returns:
            The mask (B, H, slots) with these heads restricted.
        """
        position, last, duration = self.state.T[:, :, None]
        slot = torch.arange(mask.shape[2], device=mask.device)
        stays = (slot == position) & ((duration < MAX_TOKENS_PER_PHONEME) | (position == last))
        seen = stays | (slot == (position + 1).minimum(last))
        mask = mask.clone()
        for head in self.heads[layer]:
            mask[:, head] = torch.zeros_like(mask[:, head]).masked_fill_(~seen, -torch.inf)
        return mask

    def observe(self, layer: int, weight: Tensor) -> None:
        """Collect the attention weights (B, H, slots) of a layer."""
        self._attention.append(weight[:, self.heads[layer]].sum(dim=1))

    def observe_head(self, weight: Tensor) -> None:
        """Collect the attention weights (B, slots) of one of the heads, in place of all of its layer's."""
        self._attention.append(weight)

    def advance(self, logits: Tensor, end: int) -> Tensor:
        """Move each row to the phoneme that its next token speaks, by the attention that was observed.

        Args:
            logits: (B, V) of the next token.
            end: the end token.

        Returns:
            Logits (B, V) biased towards the phoneme's tokens. The end is impossible before the last phoneme was
            spoken, and certain when that has lasted too long.
        """
        if not self.heads:
            return logits
        position, last, duration = self.state.T
        attention = torch.stack(self._attention).sum(dim=0).float().log()
        self._attention = []
        after = (position + 1).minimum(last)
        odds = attention.gather(1, after[:, None])[:, 0] - attention.gather(1, position[:, None])[:, 0]
        row_moving = self.statistics.moving[
            self._phonemes_at(position), (duration - 1).clamp(0, MAX_TOKENS_PER_PHONEME - 1)
        ]
        now = torch.where((odds + row_moving > 0) & (duration > 0), after, position)
        self.state = torch.stack([now, last, torch.where(now == position, duration + 1, 1)], dim=1)
        logits = logits + self.statistics.tokens[self._phonemes_at(now)]
        spoken = (position == last) & (duration > 0)
        ending = logits[:, end].masked_fill(~spoken, -torch.inf)
        logits[:, end] = ending.masked_fill(spoken & (duration >= MAX_TOKENS_PER_PHONEME), torch.inf)
        return logits

    def _phonemes_at(self, positions: Tensor) -> Tensor:
        """Return the phoneme ids (B,) at positions (B,) of the texts."""
        return self.texts.gather(1, positions[:, None])[:, 0]
