"""Pages of Ogg files (RFC 3533): whether the last one is there, and what follows it."""

from __future__ import annotations

from typing import BinaryIO, Final

from core.media.piecewise_file import CorrectedFile, PiecewiseFile

PAGE_BYTES: Final = 65_307
"""Of the largest page."""
HEADER_BYTES: Final = 27
"""Of a page, before its table of segments."""


def correct_ogg(file: BinaryIO) -> CorrectedFile | None:
    """Return an Ogg file up to the end of its last page; None for another file.

    A stream recorded while it was sent may lack the mark of the last page; only a page that ends early is truncated.
    """
    file.seek(0)
    if file.read(4) != b"OggS":
        return None
    size = file.seek(0, 2)
    start = max(0, _end_of_content(file) - PAGE_BYTES)
    file.seek(start)
    tail = file.read(2 * PAGE_BYTES)  # a page may end with zeros of its own
    page = tail.rfind(b"OggS")
    segments = tail[page + HEADER_BYTES :][: tail[page + HEADER_BYTES - 1]] if page + HEADER_BYTES <= len(tail) else b""
    end = start + page + HEADER_BYTES + len(segments) + sum(segments)
    if page < 0 or not segments or end > size:
        return CorrectedFile(file, truncated=True)
    return CorrectedFile(PiecewiseFile(file, [range(end)]) if end < size else file)


def _end_of_content(file: BinaryIO) -> int:
    """Return where the zeros at the end of a file begin."""
    end = file.seek(0, 2)
    while end > 0:
        start = max(0, end - (1 << 16))
        file.seek(start)
        content = file.read(end - start).rstrip(b"\0")
        if content:
            return start + len(content)
        end = start
    return 0
