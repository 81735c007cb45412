"""Ogg Vorbis, which PyAV's builds cannot encode in mono: libsndfile's encoder, as a whole or as a stream."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Final

import numpy as np
import soundfile

_BLOCK_FRAMES: Final = 16_384
"""libsndfile's Vorbis encoder keeps each write on the stack, which long ones overflow."""


class VorbisEncoder:
    """Encodes 16-bit mono samples into one Ogg Vorbis file; pages are returned as soon as they are complete."""

    def __init__(self, sample_rate: int, tags: Mapping[str, str] | None = None) -> None:
        """`tags`: they become one comment of lines NAME=TEXT: libsndfile knows no names but its own."""
        self._sink = _PageSink()
        self._file = soundfile.SoundFile(
            self._sink, "w", samplerate=sample_rate, channels=1, format="OGG", subtype="VORBIS"
        )
        if tags:
            self._file.comment = "\n".join(f"{name}={text}" for name, text in tags.items())

    def feed(self, samples: bytes) -> bytes:
        """Encode little-endian int16 samples; return the bytes that are ready, possibly none."""
        frames = np.frombuffer(samples, dtype="<i2")
        for start in range(0, len(frames), _BLOCK_FRAMES):
            self._file.write(frames[start : start + _BLOCK_FRAMES])
        return self._sink.take()

    def finish(self) -> bytes:
        """Return the end of the file; nothing may be fed after it."""
        self._file.close()
        return self._sink.take()


class _PageSink(io.BytesIO):
    """A file that returns what was appended since the last time."""

    def __init__(self) -> None:
        super().__init__()
        self._returned = 0

    def take(self) -> bytes:
        data = bytes(self.getbuffer()[self._returned :])
        self._returned += len(data)
        return data
