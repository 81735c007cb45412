"""Group sentences of similar length into batches (specification inference-pipeline §6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Result = TypeVar("Result")

MIN_FILL = 0.75


def batch_by_length(lengths: Sequence[int], batch_size: int, *, min_fill: float = MIN_FILL) -> list[list[int]]:
    """Group indices into batches of similar length, shortest first.

    Args:
        lengths: Phonemes of each sentence; the number of tokens, hence the work, follows them.
        batch_size: Largest number of sentences in a batch.
        min_fill: Share of a batch, padded to its longest sentence, that is not padding.

    Returns:
        Indices into `lengths`, batch by batch; every index occurs once.

    Raises:
        ValueError: `batch_size` is less than 1.
    """
    if batch_size < 1:
        raise ValueError(f"A batch of {batch_size} cannot be.")
    remaining = sorted(range(len(lengths)), key=lengths.__getitem__)
    batches = []
    while remaining:
        count = min(batch_size, len(remaining))
        while count > 1 and _fill([lengths[i] for i in remaining[:count]]) < min_fill:
            count -= 1
        batches.append(remaining[:count])
        remaining = remaining[count:]
    return batches


def restore_order(batches: Sequence[Sequence[int]], results: Sequence[Sequence[Result]]) -> list[Result]:
    """Return the results of all batches in the order of the sentences.

    Raises:
        ValueError: A batch does not have one result for each of its indices.
    """
    by_index = {
        index: result
        for indices, batch_results in zip(batches, results, strict=True)
        for index, result in zip(indices, batch_results, strict=True)
    }
    return [by_index[index] for index in sorted(by_index)]


def _fill(lengths: list[int]) -> float:
    """Return the share of a batch, padded to its longest sentence, that is not padding."""
    return sum(lengths) / max(1, len(lengths) * max(lengths))
