"""Draws the tokens of rows that join and leave; everything that a step needs is on the device, so none waits for it.

Shapes: B rows, V tokens, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.gpt.sampling import (
    NoiseSource,
    SamplingRules,
    SamplingSettings,
    apply_repetition_penalty,
    draw,
    probabilities,
)
from GPT_SoVITS.noise import exponential_noise

NOISE_STEPS = 32
"""Steps whose noise is drawn at once: one by one, the operations would cost more than the numbers."""


@dataclass(eq=False, slots=True)
class SampledRow:
    """A row whose tokens are drawn."""

    settings: SamplingSettings
    noise: NoiseSource
    prompt: Tensor | None
    """(P,) tokens that the repetition penalty counts from the start."""
    forced: Sequence[int] = ()
    """The first tokens, which are not drawn: what was spoken of the utterance already."""
    drawn: int = 0
    """Tokens that were drawn, those after the end included."""


class RowSampler:
    """The settings, penalties and noise of the rows of a batch."""

    def __init__(self, vocabulary: int, end_token: int, device: torch.device) -> None:
        """Begin without rows; the end token is the last one of those that can be drawn."""
        self.vocabulary = vocabulary
        self.end_token = end_token
        self.device = device
        self.rows: list[SampledRow] = []
        self.penalty = torch.ones(0, vocabulary, device=device)
        """(B, V): the repetition penalty where a token occurred, 1 elsewhere."""
        self.noise = torch.empty(0, 0, vocabulary, device=device)
        """(B, T, V) of the next steps."""
        self.drawn = torch.empty(0, 1, dtype=torch.long, device=device)
        """(B, 1), tokens drawn, for the rows' least number of tokens."""
        self.min_tokens = self.drawn
        """(B, 1)."""
        self._update_rules()

    def add_rows(self, rows: Sequence[SampledRow]) -> None:
        """Add rows behind the present ones."""
        penalty = torch.ones(len(rows), self.vocabulary, device=self.device)
        for i, row in enumerate(rows):
            if row.prompt is not None:
                penalty[i, row.prompt] = row.settings.repetition_penalty
        if self.rows:
            noise = _draw_noise(rows, self.noise.shape[1], self.vocabulary, self.device)
            self.noise = torch.cat([self.noise, noise])
        self.penalty = torch.cat([self.penalty, penalty])
        self.drawn = torch.cat([self.drawn, self.drawn.new_zeros(len(rows), 1)])
        self.rows += rows
        self._update_rules()

    def keep_rows(self, kept: Sequence[int]) -> None:
        """Keep rows, given by their numbers, in this order."""
        index = torch.tensor(kept, dtype=torch.long, device=self.device)
        self.rows = [self.rows[i] for i in kept]
        self.penalty, self.drawn = self.penalty[index], self.drawn[index]
        self.noise = self.noise[index] if self.rows else self.noise[:0, :0]
        self._update_rules()

    def draw(self, logits: Tensor) -> Tensor:
        """Draw a token of every row from logits (B, V) -> (B,)."""
        end = self.end_token
        if self.noise.shape[1] == 0:
            self.noise = _draw_noise(self.rows, NOISE_STEPS, self.vocabulary, self.device)
        noise, self.noise = self.noise[:, 0], self.noise[:, 1:]
        z = apply_repetition_penalty(logits, self.penalty) if self.has_penalties else logits
        if any(row.drawn < row.settings.min_tokens for row in self.rows):
            z = z.masked_fill((self.drawn < self.min_tokens) & self.is_end, -torch.inf)
        token = draw(probabilities(z, self.rules), noise)
        # The end also counts as reached when it is the likeliest token, whatever was drawn.
        token = torch.where(z.argmax(dim=-1) == end, end, token)
        for i, row in enumerate(self.rows):
            if row.drawn < len(row.forced):
                token[i] = row.forced[row.drawn]
        if self.has_penalties:
            self.penalty.scatter_(1, token[:, None], self.row_penalties)
        self.drawn += 1
        for row in self.rows:
            row.drawn += 1
        return token

    def _update_rules(self) -> None:
        settings = [row.settings for row in self.rows]
        self.rules = SamplingRules.of(settings, self.device)
        penalties = [s.repetition_penalty for s in settings]
        self.has_penalties = any(penalty != 1 for penalty in penalties)
        self.row_penalties = torch.tensor(penalties, device=self.device)[:, None]
        least = [s.min_tokens for s in settings]
        self.min_tokens = torch.tensor(least, dtype=torch.long, device=self.device)[:, None]
        self.is_end = torch.arange(self.vocabulary, device=self.device) == self.end_token


def _draw_noise(rows: Sequence[SampledRow], steps: int, vocabulary: int, device: torch.device) -> Tensor:
    """Return the noise of the next steps of rows, (B, T, V)."""
    seeded = [(row.noise, row.drawn) for row in rows if not isinstance(row.noise, Tensor)]
    sources, starts = [noise for noise, _ in seeded], [drawn for _, drawn in seeded]
    drawn = iter(exponential_noise(sources, starts, steps, vocabulary, device) if seeded else ())
    records = [
        _recorded(row.noise, row.drawn, steps, vocabulary, device) if isinstance(row.noise, Tensor) else next(drawn)
        for row in rows
    ]
    return torch.stack(records)


def _recorded(record: Tensor, start: int, steps: int, vocabulary: int, device: torch.device) -> Tensor:
    """Return steps of a record as (T, V). What a row's limit cuts off is not on it, nor need the end token be."""
    part = record[start : start + steps, :vocabulary].to(device, torch.float32)
    return F.pad(part, (0, vocabulary - part.shape[1], 0, steps - len(part)), value=1.0)
