"""The phonemes of each model version, in the order that gives them their ids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from GPT_SoVITS.text.data import table

UNKNOWN = "UNK"
PUNCTUATION = "!?…,.-"
"""The six punctuation characters that are phonemes themselves, in every language."""


@cache
def symbols(version: str) -> tuple[str, ...]:
    """Return the phonemes of a model version in the order of their ids: 322 for v1, 732 for every later version."""
    return tuple(table("symbols_v1" if version == "v1" else "symbols_v2"))


def replace_unknown(phonemes: Sequence[str], version: str) -> list[str]:
    """Return the phonemes with UNK in place of each one that the version has no symbol for."""
    ids = _ids_by_symbol(version)
    return [phoneme if phoneme in ids else UNKNOWN for phoneme in phonemes]


def phoneme_ids(phonemes: Sequence[str], version: str) -> list[int]:
    """Return the ids of phonemes; raise KeyError for one that the version lacks."""
    ids = _ids_by_symbol(version)
    return [ids[phoneme] for phoneme in phonemes]


@cache
def _ids_by_symbol(version: str) -> dict[str, int]:
    return {symbol: index for index, symbol in enumerate(symbols(version))}
