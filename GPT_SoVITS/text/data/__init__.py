"""The tables that the front end reads, each once; where they come from is in NOTICE.md."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@cache
def table(name: str) -> Any:
    """The content of `<name>.json`."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def lines(name: str) -> list[str]:
    """The lines of a text file, unpacked where the name ends in `.gz`."""
    raw = (FOLDER / name).read_bytes()
    return (gzip.decompress(raw) if name.endswith(".gz") else raw).decode("utf-8").splitlines()
