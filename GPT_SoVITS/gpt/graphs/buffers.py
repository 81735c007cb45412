"""The static memory of steps: what is known of each row, and its keys and values.

Steps change it in place; between two replays the host writes rows that join, moves rows, and lays the keys and values
out for another length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from GPT_SoVITS.gpt.config import MAX_TOKENS
from GPT_SoVITS.gpt.graphs.buckets import LENGTH_BUCKETS, PLAIN_TOP_K, REPLAY_STEPS
from GPT_SoVITS.gpt.graphs.weights import StepShape
from GPT_SoVITS.gpt.row_sampler import SampledRow
from GPT_SoVITS.graphs.uploads import upload
from GPT_SoVITS.noise import ROUNDS, SeededNoise, round_keys

END, POSITION, DRAWN, OWNER, ALIVE, LIMIT, MIN_TOKENS, TOP_K, KEEP_ALL = range(9)
"""Columns of `StepBuffers.numbers`: filled slots; position of the next token; tokens drawn; whose weights the row
needs; 0 once the row has ended; most tokens; steps without the end token; rank of the last token that is kept; whether
all are. The keys of the noise follow."""
KEYS: Final = 9
PENALTY, DIVISOR, NUCLEUS = range(3)
"""Columns of `StepBuffers.factors`."""
SPARE_TOKENS: Final = 3 * REPLAY_STEPS
"""Tokens that are drawn beyond a row's limit at most, before the host has read that it ended."""


class StepBuffers:
    """Allocated once, outside of any graph's pool; R rows at most."""

    @torch.inference_mode(False)
    def __init__(self, shape: StepShape, rows: int, positions: int) -> None:
        """Allocate the memory of rows that have ended.

        Args:
            shape: of the steps.
            rows: R.
            positions: slots for keys and values of all rows together.
        """
        device, vocabulary = shape.device, shape.vocabulary
        self.shape = shape
        self.kv = torch.zeros(shape.layers, positions * 2 * shape.width, dtype=shape.dtype, device=device)
        """(L, positions · 2E): at a length of S, row r has the slots r · S to (r + 1) · S, keys before values."""
        self.numbers = torch.zeros(rows, KEYS + 2 * ROUNDS, dtype=torch.long, device=device)
        self.factors = torch.ones(rows, 3, device=device)
        self.logits = torch.zeros(rows, vocabulary, device=device)
        """(R, V) of the next token."""
        self.penalties = torch.ones(rows, vocabulary + 1, device=device)
        """(R, V + 1): the repetition penalty where a token occurred, 1 elsewhere."""
        self.forced = torch.full((rows, MAX_TOKENS + SPARE_TOKENS), -1, dtype=torch.long, device=device)
        """(R, tokens): the tokens that are decided, -1 elsewhere."""
        self.texts = torch.zeros(rows, LENGTH_BUCKETS[-1] if shape.pointers else 0, dtype=torch.long, device=device)
        self.pointer_state = torch.zeros(rows, 3, dtype=torch.long, device=device)
        """See Pointers."""
        self.owner = torch.zeros(1, dtype=torch.long, device=device)
        """Whose rows advance; those of others stay as they are."""
        self.tokens = torch.full((rows, REPLAY_STEPS), vocabulary, dtype=torch.long, device=device)
        """(R, steps) of the last replay; V stands for none."""
        self.steps = torch.arange(REPLAY_STEPS, device=device)[:, None]
        self.slots = torch.arange(LENGTH_BUCKETS[-1], device=device)
        self.row_numbers = torch.arange(rows, device=device)
        self.is_end = torch.arange(vocabulary, device=device) == shape.end

    @property
    def positions(self) -> int:
        """Slots for keys and values of all rows together."""
        return self.kv.shape[1] // (2 * self.shape.width)

    def row_state(self) -> list[Tensor]:
        """Return what is known of rows, (R, …) each, but for keys and values."""
        return [
            self.numbers,
            self.factors,
            self.logits,
            self.penalties,
            self.forced,
            self.texts,
            self.pointer_state,
            self.tokens,
        ]

    def row_slots(self, row: int, length: int) -> Tensor:
        """Return the keys and values of a row at a length of S, (L, S, 2E)."""
        width = 2 * self.shape.width
        start = row * length * width
        return self.kv[:, start : start + length * width].unflatten(1, (length, width))

    def write(self, row: int, sampled: SampledRow, filled: int, prompt: int, limit: int, owner: int) -> None:
        """Write what is known of a row that joins, but for its logits, pointers, keys and values.

        Args:
            row: its number.
            sampled: how its tokens are drawn.
            filled: slots that are filled.
            prompt: tokens of its prompt.
            limit: most tokens.
            owner: whose weights it needs.
        """
        assert isinstance(sampled.noise, SeededNoise), "the caller has checked that it is no record"
        settings = sampled.settings
        rank = 0 if settings.top_k is None else min(settings.top_k, self.shape.vocabulary) - 1
        numbers = [filled, prompt, 0, owner, 1, limit, settings.min_tokens, rank, settings.top_k is None]
        keys = [key for pair in round_keys(sampled.noise) for key in pair]
        self.numbers[row].copy_(upload([*numbers, *keys], torch.long, self.shape.device), non_blocking=True)
        factors = [settings.repetition_penalty, settings.divisor, settings.nucleus]
        self.factors[row].copy_(upload(factors, torch.float32, self.shape.device), non_blocking=True)
        self.penalties[row].fill_(1.0)
        if sampled.prompt is not None:
            self.penalties[row].index_fill_(0, sampled.prompt, settings.repetition_penalty)
        self.forced[row].fill_(-1)
        if sampled.forced:
            self.forced[row, : len(sampled.forced)] = upload(sampled.forced, torch.long, self.shape.device)

    def end(self, row: int) -> None:
        """Let a row stand still: it writes to its first slot alone, and reads that."""
        self.numbers[row].zero_()

    def move(self, source: int, target: int, length: int, filled: int) -> None:
        """Copy a row, whose slots are filled so far, to another number."""
        for state in self.row_state():
            state[target].copy_(state[source])
        self.row_slots(target, length)[:, :filled] = self.row_slots(source, length)[:, :filled]

    def relayout(self, filled: Sequence[int], length: int, new_length: int) -> None:
        """Lay out rows 0, 1 …, whose slots are filled so far, for another length.

        In place: a row's old slots overlap no new ones but those of rows that have been moved.
        """
        rows = range(len(filled))
        for row in reversed(rows) if new_length > length else rows:
            new, old = self.row_slots(row, new_length), self.row_slots(row, length)
            if row:
                new[:, : filled[row]] = old[:, : filled[row]]
        for row in rows:
            self.row_slots(row, new_length)[:, filled[row] :] = 0

    @torch.inference_mode(False)
    def grow(self, positions: int) -> None:
        """Allocate more slots; whatever was captured reads the old ones."""
        old = self.kv
        self.kv = old.new_zeros(len(old), positions * 2 * self.shape.width)
        self.kv[:, : old.shape[1]] = old

    def snapshot(self) -> list[Tensor]:
        """Copy what is known of rows. Keys and values are no part of it: a step that is repeated writes them again."""
        return [state.clone() for state in self.row_state()]

    def restore(self, snapshot: Sequence[Tensor]) -> None:
        """Write a snapshot back."""
        torch._foreach_copy_(self.row_state(), list(snapshot))

    def write_examples(self, owner: int) -> None:
        """Write rows of one slot each, so that what is captured in a warm-up has tokens to be compared by."""
        seeds = [SeededNoise(row) for row in range(len(self.numbers))]
        numbers = [1, 0, 0, owner, 1, LENGTH_BUCKETS[0], 0, PLAIN_TOP_K - 1, 0]
        rows = [[*numbers, *(key for pair in round_keys(seed) for key in pair)] for seed in seeds]
        self.numbers.copy_(torch.tensor(rows, dtype=torch.long))
        self.factors.copy_(torch.tensor([1.35, 1.0, math.inf]).expand_as(self.factors))
        self.logits.copy_(torch.linspace(-3, 3, self.logits.shape[1]).expand_as(self.logits))
        self.penalties.fill_(1.0)
        self.forced.fill_(-1)
