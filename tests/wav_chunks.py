"""The chunks of a WAV file, read strictly: a size that does not fit is an error."""

from __future__ import annotations

import struct


def wav_chunks(content: bytes) -> dict[str, bytes]:
    """Return the chunks of a complete WAV by their names, in order."""
    riff, size, kind = struct.unpack("<4sI4s", content[:12])
    assert (riff, kind) == (b"RIFF", b"WAVE")
    assert size == len(content) - 8
    chunks: dict[str, bytes] = {}
    position = 12
    while position < len(content):
        name, length = struct.unpack("<4sI", content[position : position + 8])
        chunk = content[position + 8 : position + 8 + length]
        assert len(chunk) == length
        assert name.decode() not in chunks
        chunks[name.decode()] = chunk
        position += 8 + length + length % 2
    return chunks


def samples_of(content: bytes) -> bytes:
    """Return the 16-bit samples of a WAV of ours: they follow 44 bytes of header, and the marks follow them."""
    chunks = wav_chunks(content)
    assert list(chunks) in (["fmt ", "data"], ["fmt ", "data", "LIST"], ["fmt ", "data", "LIST", "C2PA"])
    assert content[36:40] == b"data"
    return chunks["data"]
