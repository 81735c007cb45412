"""The phones of each model version, in the order that gives them their ids."""

from __future__ import annotations

from functools import cache

from GPT_SoVITS.text.data import table

UNKNOWN = "UNK"
MARKS = "!?…,.-"
"""The six marks that are phones themselves, in every language."""


@cache
def symbols(version: str) -> tuple[str, ...]:
    """322 phones for v1, 732 for every later version."""
    return tuple(table("symbols_v1" if version == "v1" else "symbols_v2"))


@cache
def _index(version: str) -> dict[str, int]:
    return {symbol: index for index, symbol in enumerate(symbols(version))}


def known_phones(phones: list[str], version: str) -> list[str]:
    """The same phones, those that the version has no symbol for replaced by UNK."""
    index = _index(version)
    return [phone if phone in index else UNKNOWN for phone in phones]


def phone_ids(phones: list[str], version: str) -> list[int]:
    index = _index(version)
    return [index[phone] for phone in phones]
