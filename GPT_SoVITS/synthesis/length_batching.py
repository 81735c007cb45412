"""Which sentences are worked on together (specification inference-pipeline §6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")

THRESHOLD = 0.75


def consecutive(count: int, size: int) -> list[list[int]]:
    """Indices 0 … count - 1 in their own order, `size` to a batch: so the first sentence is ready first."""
    _check(size)
    return [list(range(start, min(start + size, count))) for start in range(0, count, size)]


def buckets(
    lengths: Sequence[int], size: int, *, threshold: float = THRESHOLD, compat: str | None = None
) -> list[list[int]]:
    """Indices in batches of similar length, shortest first, at most `size` to a batch.

    `lengths` are the numbers of phonemes: the tokens to come, hence the work, follow them. At least `threshold` of a
    batch padded to its longest is then real. With `compat="reference"` `lengths` are the characters of the
    normalised text and the original's rule decides, which looks at the middle one and lets a long one pass.
    """
    _check(size)
    full_enough = _reference_share if compat == "reference" else _share
    waiting = sorted(range(len(lengths)), key=lengths.__getitem__)
    batches = []
    while waiting:
        count = min(size, len(waiting))
        while count > 1 and full_enough([lengths[i] for i in waiting[:count]]) < threshold:
            count -= 1
        batches.append(waiting[:count])
        waiting = waiting[count:]
    return batches


def restore(batches: Sequence[Sequence[int]], made: Sequence[Sequence[Item]]) -> list[Item]:
    """What was made of every batch, in the order of the sentences."""
    by_index = {
        i: item for batch, items in zip(batches, made, strict=True) for i, item in zip(batch, items, strict=True)
    }
    return [by_index[i] for i in sorted(by_index)]


def _share(lengths: list[int]) -> float:
    """How much of a batch padded to its longest is real."""
    return sum(lengths) / max(1, len(lengths) * max(lengths))


def _reference_share(lengths: list[int]) -> np.float32:
    ascending = np.asarray(lengths, dtype=np.float32)
    return ascending[len(ascending) // 2] / (ascending.mean() + np.float32(1e-8))


def _check(size: int) -> None:
    if size < 1:
        raise ValueError(f"A batch of {size} cannot be.")
