"""Random numbers that are a function of a seed and a position: Philox4x32-10 (Salmon et al., SC 2011).

There is no state and no order of draws, so a row's noise is the same in any batch, in any piece of a stream and on
every device, and nothing is uploaded to draw it.

Shapes: B rows, T steps or frames, W numbers of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
WORD = 0xFFFFFFFF
NUMBERS_PER_COUNTER = 4


class NoisePurpose(IntEnum):
    """What noise is for; different purposes get different numbers from one seed."""

    TOKENS = 0
    LATENT = 1
    MEL = 2


@dataclass(frozen=True, slots=True)
class SeededNoise:
    """The noise of one utterance. A seed is any integer; its lowest 64 bits count."""

    seed: int

    @classmethod
    def random(cls) -> SeededNoise:
        """Return noise that torch's global random generator chooses."""
        return cls(int(torch.randint(2**63 - 1, ())))

    def exponential(self, start: int, count: int, width: int, device: torch.device | str = "cpu") -> Tensor:
        """Return Exponential(1) numbers (T, W) for drawing the tokens of steps `start` to `start + count`."""
        return exponential_noise([self], [start], count, width, device)[0]

    def normal(
        self, purpose: NoisePurpose, start: int, count: int, width: int, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Return standard-normal numbers (T, W) for frames `start` to `start + count`."""
        return _normal(_random_words([self], [start], count, width, purpose, device), width)[0].to(device)


def exponential_noise(
    rows: Sequence[SeededNoise], starts: Sequence[int], count: int, width: int, device: torch.device | str
) -> Tensor:
    """Return the `SeededNoise.exponential` of several rows, each from its own step on -> (B, T, W) float32."""
    if torch.device(device).type == "cpu" and len(rows) > 1:  # one row fits the processor's caches
        return torch.cat([exponential_noise([row], [start], count, width, device) for row, start in zip(rows, starts)])
    words = _random_words(rows, starts, count, width, NoisePurpose.TOKENS, device)
    return _interleave(_uniform(words).log_().neg_(), width).to(device)


def round_keys(noise: SeededNoise) -> list[list[int]]:
    """Return the keys of each round of the generator, (ROUNDS, 2), for `exponential_noise_at`."""
    seeds = (noise.seed & WORD, noise.seed >> 32 & WORD)
    return [
        [(seed + number * increment) & WORD for seed, increment in zip(seeds, KEY_INCREMENTS)]
        for number in range(ROUNDS)
    ]


def exponential_noise_at(keys: Tensor, steps: Tensor, width: int) -> Tensor:
    """Return the `SeededNoise.exponential` of rows at steps that only the device knows; nothing is uploaded.

    Args:
        keys: (B, ROUNDS, 2) int64, the `round_keys` of each row's noise.
        steps: (B, T) int64.
        width: numbers of each step.

    Returns:
        (B, T, W) float32.
    """
    words = _philox(_key_pairs(keys), steps, width, NoisePurpose.TOKENS)
    return _interleave(_uniform(words).log_().neg_(), width)


def normal_noise_at(keys: Tensor, frames: Tensor, width: int, purpose: NoisePurpose) -> Tensor:
    """Return the `SeededNoise.normal` of rows at frames (B, T) that only the device knows, (B, T, W) float32.

    The other arguments are those of `exponential_noise_at`.
    """
    return _normal(_philox(_key_pairs(keys), frames, width, purpose), width)


def _key_pairs(keys: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(keys[:, number, 0, None, None], keys[:, number, 1, None, None]) for number in range(ROUNDS)]


def _normal(words: Tensor, width: int) -> Tensor:
    """Turn random words (B, 4, T, W / 4) into normal numbers (B, T, W), two into two as Box and Muller do."""
    radius = (-2.0 * _uniform(words[:, 0::2]).log()).sqrt()
    angle = (2.0 * math.pi) * _uniform(words[:, 1::2])
    return _interleave(torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1), width)


def _uniform(words: Tensor) -> Tensor:
    """Convert random words to float64 in (0, 1); in float32, logarithms would differ between devices."""
    return (words.double() + 0.5) * 2.0**-32


def _interleave(numbers: Tensor, width: int) -> Tensor:
    """Put the four numbers of each counter side by side: (B, 4, T, W / 4) -> (B, T, W) float32."""
    return numbers.float().permute(0, 2, 3, 1).flatten(2)[:, :, :width]


def _random_words(
    rows: Sequence[SeededNoise],
    starts: Sequence[int],
    count: int,
    width: int,
    purpose: NoisePurpose,
    device: torch.device | str,
) -> Tensor:
    """Return 32 random bits for each number, (B, 4, T, ceil(W / 4)) int64."""
    if torch.device(device).type == "mps":  # it has neither float64 nor the words' products
        return _random_words(rows, starts, count, width, purpose, "cpu")
    step = torch.cat([torch.arange(start, start + count, device=device)[None] for start in starts])  # (B, T)
    low = torch.cat([step.new_full((1, 1, 1), row.seed & WORD) for row in rows])  # (B, 1, 1)
    high = torch.cat([step.new_full((1, 1, 1), row.seed >> 32 & WORD) for row in rows])
    keys = [
        ((low + number * KEY_INCREMENTS[0]) & WORD, (high + number * KEY_INCREMENTS[1]) & WORD)
        for number in range(ROUNDS)
    ]
    return _philox(keys, step, width, purpose)


def _philox(keys: Sequence[tuple[Tensor, Tensor]], step: Tensor, width: int, purpose: NoisePurpose) -> Tensor:
    """Run the rounds, each with two keys (B, 1, 1), for counters (index, step, purpose, 0) of steps (B, T).

    Returns:
        32 random bits for each number, (B, 4, T, ceil(W / 4)) int64.
    """
    counters = -(-width // NUMBERS_PER_COUNTER)
    c0 = torch.arange(counters, device=step.device).expand(*step.shape, counters)
    c1 = step[:, :, None].expand_as(c0)
    c2 = step.new_full((1, 1, 1), purpose)
    c3 = torch.zeros_like(c2)
    for key0, key1 in keys:
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        # The product wraps around to a negative number; its upper 32 bits are right all the same.
        c0, c2 = (second >> 32 & WORD) ^ c1 ^ key0, (first >> 32 & WORD) ^ c3 ^ key1
        c1, c3 = second & WORD, first & WORD
    return torch.stack([x.expand_as(c0) for x in (c0, c1, c2, c3)], dim=1)
