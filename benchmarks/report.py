"""What every benchmark ends with: rows of ours and theirs, as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One number of ours beside one of somebody else's, or beside a goal."""

    metric: str
    unit: str
    ours: float
    peer: str
    theirs: float
    ratio: float
    """Above 1 we are ahead, whether more of the metric is better or less."""


def report(name: str, rows: Sequence[Row], file: Path | None = None) -> None:
    """Print the table, and write the rows to `file` if one is given."""
    print(f"\n{name}: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    shown = [("metric", "unit", "ours", "peer", "theirs", "ratio")]
    shown += [
        (row.metric, row.unit, f"{row.ours:,.2f}", row.peer, f"{row.theirs:,.2f}", f"{row.ratio:.2f}") for row in rows
    ]
    widths = [max(len(line[column]) for line in shown) for column in range(len(shown[0]))]
    for line in shown:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
        print(f"\nWritten to {file}.")
