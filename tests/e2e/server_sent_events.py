"""Server-sent events as a client reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson


def read_events(client: httpx.Client, path: str, silence: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each event's kind and data until the stream ends, or is silent for so many seconds."""
    with client.stream("GET", path, timeout=httpx.Timeout(30, read=silence)) as answer:
        kind = ""
        for line in answer.iter_lines():
            if line.startswith("event:"):
                kind = line[6:].strip()
            elif line.startswith("data:"):
                yield kind, orjson.loads(line[5:])
