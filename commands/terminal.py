"""What commands print: tables, headings and colours in a terminal, plain lines in a pipe, JSON on request."""

from __future__ import annotations

import json
import os
import sys
from argparse import HelpFormatter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, Final

INTERRUPTED: Final = 130
"""Exit code of a command that Ctrl-C ended, as shells have it."""
BOLD: Final = "1"
GREEN: Final = "32"
RED: Final = "31"
STATUS_COLORS: Final[Mapping[str, str]] = {
    "completed": GREEN,
    "running": "36",
    "failed": RED,
    "cancelled": "33",
}


def uses_color() -> bool:
    """Return whether standard output is a terminal that shows colours, and nobody asked for none (NO_COLOR)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def colored(text: str, color: str) -> str:
    """Return a text in a colour (an SGR code), where colours are used."""
    return f"\x1b[{color}m{text}\x1b[0m" if color and uses_color() else text


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=_as_json))


def print_table(rows: Sequence[Sequence[str]], headings: Sequence[str], colors: Sequence[str] = ()) -> None:
    """Print rows in columns; the headings only in a terminal, so that programs read rows alone.

    `colors`: one for each row.
    """
    widths = [
        max(_width(text) for text in column)
        for column in zip(*rows, *([headings] if sys.stdout.isatty() else []), strict=True)
    ]
    if sys.stdout.isatty():
        print(colored(_line(headings, widths), BOLD))
    for number, row in enumerate(rows):
        print(colored(_line(row, widths), colors[number] if colors else ""))


class HeadingFormatter(HelpFormatter):
    """Help with headings in bold."""

    def start_section(self, heading: str | None) -> None:
        """Begin a section."""
        super().start_section(colored(heading, BOLD) if heading else heading)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Return the columns that a text takes in a terminal: two for a Chinese character."""
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _as_json(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
