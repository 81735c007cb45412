"""Tags of a WAV: the chunk `LIST` of the type `INFO` (Multimedia Programming Interface 1.0, section 2)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path


def info_chunk(tags: Mapping[str, str]) -> bytes:
    """Return the chunk with these tags, whose names are four ASCII characters; nothing without tags."""
    if not tags:
        return b""
    content = b"INFO" + b"".join(_chunk(name.encode("ascii"), text.encode() + b"\0") for name, text in tags.items())
    return _chunk(b"LIST", content)


def add_wav_tags(path: Path, tags: Mapping[str, str]) -> None:
    """Append the tags to a complete WAV of 16-bit samples."""
    if not tags:
        return
    with path.open("r+b") as file:
        file.seek(0, 2)
        file.write(info_chunk(tags))
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", size))


def _chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of RIFF; its content is padded to an even length, which does not count."""
    if len(name) != 4:
        raise ValueError(f"a chunk's name has four bytes; {name!r} has {len(name)}")
    return struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)
