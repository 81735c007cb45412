"""Identifiers: a readable prefix, a time that sorts, and enough random bits to be unique."""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """Return `<prefix>-` and 20 characters: 9 of milliseconds since the epoch, 11 (55 bits) of random noise."""
    return id_of(prefix, time.time_ns() // 1_000_000, os.urandom(7))


def id_of(prefix: str, milliseconds: int, noise: bytes) -> str:
    """Return the id of this time, and of the first 7 bytes of noise."""
    random_bits = int.from_bytes(noise[:7], "big") >> 1
    return f"{prefix}-{_encode(milliseconds, 9)}{_encode(random_bits, 11)}"


def is_generated(identifier: str, *prefixes: str) -> bool:
    """Return whether it has the form of an id that `new_id` makes with one of the prefixes, maybe with more behind."""
    prefix, _, rest = identifier.partition("-")
    letters = rest.partition(".")[0]
    return prefix in prefixes and len(letters) == 20 and set(letters) <= set(_ALPHABET)


def _encode(number: int, width: int) -> str:
    letters = []
    for _ in range(width):
        number, index = divmod(number, 32)
        letters.append(_ALPHABET[index])
    return "".join(reversed(letters))
