"""Pages of Ogg files (RFC 3533): whether the last one is there."""

from __future__ import annotations

from typing import BinaryIO, Final

from core.media.file_view import FileView

PAGE_BYTES: Final = 65_307
"""Of the largest page."""


def is_cut_ogg(file: BinaryIO | FileView) -> bool:
    """Return whether the last Ogg page lacks the end-of-stream flag and is not complete either.

    Zeros after it do not matter, and a stream that was recorded while it was sent may have no last page.
    """
    file.seek(0)
    if file.read(4) != b"OggS":
        return False
    size = _end_of_content(file)
    start = max(0, size - PAGE_BYTES)
    file.seek(start)
    tail = file.read(size - start + PAGE_BYTES)  # a page may end with zeros of its own
    page = tail.rfind(b"OggS")
    if page < 0 or page + 27 > len(tail):
        return True
    if tail[page + 5] & 4:
        return False
    segments = tail[page + 27 : page + 27 + tail[page + 26]]
    return page + 27 + len(segments) + sum(segments) > len(tail) or len(segments) < tail[page + 26]


def _end_of_content(file: BinaryIO | FileView) -> int:
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
