"""Buckets: the sizes for which graphs are captured; what is smaller than its bucket is filled up to it."""

from __future__ import annotations


def smallest(buckets: tuple[int, ...], number: int) -> int:
    """Return the smallest bucket that is not below a number. Raises ValueError if none is."""
    for bucket in buckets:
        if bucket >= number:
            return bucket
    raise ValueError(f"{number} is beyond the largest bucket, {buckets[-1]}")
