"""A file as it should have been: parts of another file one after the other, with corrected bytes in between."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

Piece = bytes | range
"""Bytes, or the positions of the bytes in the other file."""


@dataclass(slots=True)
class CorrectedFile:
    """A recording whose wrong lengths do not mislead a decoder."""

    file: BinaryIO | PiecewiseFile
    warnings: list[str] = field(default_factory=list)
    """A sentence for each wrong length."""
    truncated: bool = False
    """Whether the end of the recording is missing."""
    damaged_at: float | None = None
    """Position of damage in seconds."""
    joints: int = 0
    """Places where one recording ends and another begins: a decoder may lose a packet there."""


class PiecewiseFile(io.RawIOBase):
    """Reads pieces as one file."""

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        self._file = file
        self._pieces = [piece for piece in pieces if len(piece)]
        self._starts = [0]
        for piece in self._pieces:
            self._starts.append(self._starts[-1] + len(piece))
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, fewer only at the end; all that remain by default."""
        end = self._starts[-1] if size < 0 else min(self._starts[-1], self._position + size)
        result = bytearray()
        while self._position < end:
            index = bisect_right(self._starts, self._position) - 1
            piece = self._pieces[index]
            start = self._position - self._starts[index]
            part = piece[start : start + end - self._position]
            if isinstance(part, range):
                self._file.seek(part.start)
                content = self._file.read(len(part))
                if not content:
                    break
            else:
                content = part
            result += content
            self._position += len(content)
        return bytes(result)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position
