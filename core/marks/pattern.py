"""The secret pattern of the watermark: which band is raised and which lowered, block by block.

Time is cut into blocks of 120 ms and the telephone band into bands of 15.6 Hz. In each cell, a block's band, the speech
is raised or lowered by a decibel or two, as the key says; the pattern repeats every 16 blocks. Half of the cells are
always the same (they find the beginning), the others carry the bits of a payload. It is a patchwork watermark in the
frequency domain, as the public literature describes since Bender et al. (1996).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np

BLOCK_SECONDS: Final = 0.12
"""A whole number of samples at every usual rate, from 8,000 to 48,000 Hz and 11,025 to 44,100 Hz."""
LOWEST_HERTZ: Final = 300.0
BAND_HERTZ: Final = 15.625
BANDS: Final = 198
"""Up to 3,394 Hz: what telephones and the lowest bit rates keep."""
PERIOD: Final = 16
"""Blocks after which the pattern repeats."""
PAYLOAD_BITS: Final = 24
CHECK_BITS: Final = 8
CODE_BITS: Final = PAYLOAD_BITS + CHECK_BITS
MAX_PAYLOAD: Final = 2**PAYLOAD_BITS - 1


def codeword(payload: int) -> int:
    """Return the payload with its check bits behind it. ValueError unless it is 0 to MAX_PAYLOAD."""
    if not 0 <= payload <= MAX_PAYLOAD:
        raise ValueError(f"a payload is 0 to {MAX_PAYLOAD}; this is {payload}")
    return payload << CHECK_BITS | _check_of(payload)


def payload_of(code: int) -> int | None:
    """Return the payload of a codeword; None when its check bits are wrong."""
    payload = code >> CHECK_BITS
    return payload if codeword(payload) == code else None


def _check_of(payload: int) -> int:
    """Return the CRC-8 (polynomial 0x07) of a payload's three bytes."""
    remainder = 0
    for byte in payload.to_bytes(PAYLOAD_BITS // 8, "big"):
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x07 if remainder & 0x80 else 0)) & 0xFF
    return remainder


@dataclass(frozen=True)
class Pattern:
    """The cells of one key."""

    key: bytes

    @cached_property
    def signs(self) -> np.ndarray:
        """(PERIOD, BANDS) of ±1: what the key says."""
        return self._cells[0]

    @cached_property
    def bits(self) -> np.ndarray:
        """(PERIOD, BANDS): the bit that a cell carries, -1 where it carries none."""
        return self._cells[1]

    def with_payload(self, payload: int) -> np.ndarray:
        """Return the signs (PERIOD, BANDS) with a payload in them: a bit that is 0 turns its cells around."""
        import numpy as np

        code = codeword(payload)
        flips = np.array([1 if code >> bit & 1 else -1 for bit in range(CODE_BITS)] + [1])
        signs: np.ndarray = self.signs * flips[self.bits]
        return signs

    @cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        seed = int.from_bytes(hashlib.sha256(b"sovitsd watermark 1\0" + self.key).digest()[:16], "big")
        generator = np.random.Generator(np.random.Philox(seed))
        size = PERIOD * BANDS
        signs = generator.integers(0, 2, size) * 2 - 1
        order = generator.permutation(size)
        bits = np.where(order < size // 2, -1, order % CODE_BITS)
        return signs.reshape(PERIOD, BANDS), bits.reshape(PERIOD, BANDS)
