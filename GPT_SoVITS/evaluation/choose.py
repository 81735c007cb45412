"""Which checkpoint of a training is the best: by its words, then by its speaker, then by its sound.

Few sentences cannot tell small differences, so what lies within a tolerance of the best counts as equal, and the next
number decides. Where all are equal, the later epoch has learnt more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Row = TypeVar("Row", bound=Mapping[str, Any])


@dataclass(frozen=True, slots=True)
class Rule:
    """One of the numbers that decide, in their order."""

    name: str
    better: int
    """1 when more is better, −1 when less is."""
    tolerance: float


RULES = (Rule("wer", -1, 0.05), Rule("similarity", 1, 0.02), Rule("dnsmos", 1, 0.05))


def best(rows: Sequence[Row]) -> Row | None:
    """The row to take of those that were judged (`epoch`, and the names of `RULES`); None when none was."""
    left = [row for row in rows if row.get("wer") is not None]
    for rule in RULES:
        known = [row for row in left if row.get(rule.name) is not None]
        if not known:
            continue
        peak = max(rule.better * row[rule.name] for row in known)
        left = [row for row in known if rule.better * row[rule.name] >= peak - rule.tolerance]
    return max(left, key=lambda row: row["epoch"]) if left else None
