"""Identifiers: a readable prefix, a time that sorts, and enough random bits to be unique."""

from __future__ import annotations

import os
import threading
import time
from typing import Final

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


_STEP_BYTES: Final = 4
"""Of the random distance between two ids of one millisecond: enough that neither tells the other."""
_lock = threading.Lock()
_last = (0, 0)
"""Milliseconds and noise of the newest id of this process."""


def new_id(prefix: str) -> str:
    """Return `<prefix>-` and 20 characters: 9 of milliseconds since the epoch, 11 (55 bits) of random noise.

    The ids of one process sort in the order of their creation, those of one millisecond too: what was uploaded in one
    request is listed as it came.
    """
    global _last
    with _lock:
        milliseconds, noise = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(7), "big") >> 1
        if milliseconds == _last[0]:
            noise = _last[1] + 1 + int.from_bytes(os.urandom(_STEP_BYTES), "big")
            milliseconds, noise = milliseconds + (noise >> 55), noise % 2**55
        _last = milliseconds, noise
    return f"{prefix}-{_encode(milliseconds, 9)}{_encode(noise, 11)}"


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
