"""Encoders of speech. Their libraries (25 MB) are loaded with the first speech, not with the process."""

from __future__ import annotations

from typing import Final, Protocol

from common.audio_formats import StreamFormat

SAMPLE_RATE_HEADER: Final = "X-Sample-Rate"
"""Of responses that are raw samples, which say nothing of their rate."""


class AudioEncoder(Protocol):
    """Encodes 16-bit mono samples into the bytes of a file."""

    def feed(self, samples: bytes) -> bytes:
        """Return what can be sent after these samples, maybe nothing yet."""
        ...

    def finish(self) -> bytes:
        """Return the rest of the file."""
        ...


def new_encoder(audio_format: StreamFormat, sample_rate: int) -> AudioEncoder:
    """Create an encoder for samples at this rate in Hz. The first call blocks while libraries load."""
    if audio_format == "pcm":
        return RawEncoder()
    from core.media.encode import Encoder

    return Encoder(audio_format, sample_rate)


def wav_file_header(sample_rate: int, data_bytes: int) -> bytes:
    """Return the 44 bytes before so many bytes of 16-bit mono samples. The first call blocks while libraries load."""
    from core.media.encode import wav_header

    return wav_header(sample_rate, data_bytes)


class RawEncoder:
    """The encoder of `pcm`: 16-bit little-endian samples without a header."""

    def feed(self, samples: bytes) -> bytes:
        """Return the samples."""
        return samples

    def finish(self) -> bytes:
        """Return nothing: there is no end."""
        return b""
