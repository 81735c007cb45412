"""Choose the best checkpoint of a training: by its words, then by its speaker, then by its audio quality.

Few sentences cannot tell small differences, so what lies within a tolerance of the best counts as equal, and the next
score decides. Where all are equal, the later epoch has learned more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Row = TypeVar("Row", bound=Mapping[str, Any])


@dataclass(frozen=True, slots=True)
class Criterion:
    """One of the scores that decide."""

    name: str
    direction: int
    """1 when more is better, −1 when less is."""
    tolerance: float


CRITERIA = (Criterion("wer", -1, 0.05), Criterion("similarity", 1, 0.02), Criterion("dnsmos", 1, 0.05))
"""In the order in which they decide."""


def best_checkpoint(rows: Sequence[Row]) -> Row | None:
    """Return the best row of those that were evaluated; None when none was.

    A row has `epoch`, and scores under the names of `CRITERIA`; a score may be None or absent.
    """
    candidates = [row for row in rows if row.get("wer") is not None]
    for criterion in CRITERIA:
        scored = [row for row in candidates if row.get(criterion.name) is not None]
        if not scored:
            continue
        best = max(criterion.direction * row[criterion.name] for row in scored)
        candidates = [row for row in scored if criterion.direction * row[criterion.name] >= best - criterion.tolerance]
    return max(candidates, key=lambda row: int(row["epoch"])) if candidates else None
