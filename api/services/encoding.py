"""Encoders of speech. Their libraries (25 MB) are loaded with the first speech, not with the process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from common.audio_formats import StreamFormat
from core.marks.speech_label import SpeechLabel, tags_of

SAMPLE_RATE_HEADER: Final = "X-Sample-Rate"
"""Of responses that are raw samples, which say nothing of their rate."""
LABEL_HEADER: Final = "X-AIGC"
"""Of responses that are speech: the label as JSON, which raw samples and a WAV that streams have no other place for."""


class AudioEncoder(Protocol):
    """Encodes 16-bit mono samples into the bytes of a file."""

    def feed(self, samples: bytes) -> bytes:
        """Return what can be sent after these samples, maybe nothing yet."""
        ...

    def finish(self) -> bytes:
        """Return the rest of the file."""
        ...


async def open_encoder(audio_format: StreamFormat, sample_rate: int, label: SpeechLabel | None) -> AudioEncoder:
    """Create an encoder for samples at this rate in Hz."""
    if audio_format == "pcm":
        return RawEncoder()
    return await asyncio.to_thread(_new_encoder, audio_format, sample_rate, label)


async def feed_encoder(encoder: AudioEncoder, samples: bytes) -> bytes:
    """Return what can be sent after these samples; in a thread, unless nothing is computed."""
    return encoder.feed(samples) if isinstance(encoder, RawEncoder) else await asyncio.to_thread(encoder.feed, samples)


async def finish_encoder(encoder: AudioEncoder) -> bytes:
    """Return the rest of the file."""
    return b"" if isinstance(encoder, RawEncoder) else await asyncio.to_thread(encoder.finish)


def _new_encoder(audio_format: StreamFormat, sample_rate: int, label: SpeechLabel | None) -> AudioEncoder:
    """Create an encoder; the first call blocks while libraries load."""
    from core.media.encode import Encoder

    return Encoder(audio_format, sample_rate, tags=tags_of(label))


def label_headers(label: SpeechLabel | None) -> Mapping[str, str]:
    """Return the header of a response that is speech with this label; none without one."""
    return {} if label is None else {LABEL_HEADER: label.text}


class RawEncoder:
    """The encoder of `pcm`: 16-bit little-endian samples without a header."""

    def feed(self, samples: bytes) -> bytes:
        """Return the samples."""
        return samples

    def finish(self) -> bytes:
        """Return nothing: there is no end."""
        return b""
