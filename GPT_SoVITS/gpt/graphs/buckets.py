"""The sizes for which steps are captured: a replay computes for as many rows and slots as its bucket has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REPLAY_STEPS: Final = 8
"""Tokens of each row that one replay draws."""
ROW_BUCKETS: Final = (1, 2, 4, 8, 16, 32)
LENGTH_BUCKETS: Final = (256, 512, 1024, 2048, 4096)
"""Slots for keys and values of each row."""
PREPARED_LENGTHS: Final = (256, 512, 1024)
"""Those that a warm-up captures; nearly all sentences fit."""
PLAIN_TOP_K: Final = 32
"""A row whose top_k is larger, or off, or that has a top_p, needs the general rules."""


@dataclass(frozen=True, slots=True)
class GraphBucket:
    """What one graph computes."""

    rows: int
    length: int
    general: bool = False
    """Whether any sampling rule may be in use; else top_k of at most `PLAIN_TOP_K` and no top_p."""
