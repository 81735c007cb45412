"""The tables of the text front end, each read once; NOTICE.md says where they come from."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@cache
def table(name: str) -> Any:
    """Return the content of `<name>.json`, whose shape is the table's own."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def lines(name: str) -> list[str]:
    """Return the lines of a text file, decompressed where the name ends in `.gz`."""
    content = (FOLDER / name).read_bytes()
    return (gzip.decompress(content) if name.endswith(".gz") else content).decode("utf-8").splitlines()
