"""The storage keys that rows of the records name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

_KEY_COLUMNS: Final = ("storage_key", "recording_key")


def storage_keys_of(table: str, row: Mapping[str, object]) -> Iterator[str]:
    """Yield the keys of the artifacts that a row needs to be of use."""
    for column in _KEY_COLUMNS:
        if key := row.get(column):
            yield str(key)
    if table == "voices":
        for prompt in cast(Sequence[Mapping[str, object]], row["prompts"]):
            yield str(prompt["audio"])
