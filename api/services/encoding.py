"""Encoders of speech. Their libraries (25 MB) are loaded with the first speech, not with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from common.audio_formats import AudioFormat

if TYPE_CHECKING:
    import soxr

RAW_SAMPLE_RATE: Final = 24_000
"""Raw samples carry no rate: OpenAI's clients assume 24 kHz."""


class AudioEncoder(Protocol):
    """Encodes 16-bit mono samples into the bytes of a file."""

    def feed(self, samples: bytes) -> bytes:
        """Return what can be sent after these samples, maybe nothing yet."""
        ...

    def finish(self) -> bytes:
        """Return the rest of the file."""
        ...


def new_encoder(audio_format: AudioFormat, sample_rate: int) -> AudioEncoder:
    """Create an encoder for samples at this rate in Hz. The first call blocks while libraries load."""
    if audio_format == "pcm":
        return RawEncoder(sample_rate)
    from core.media.encode import Encoder

    return Encoder(audio_format, sample_rate)


def wav_file_header(sample_rate: int, data_bytes: int) -> bytes:
    """Return the 44 bytes before so many bytes of 16-bit mono samples. The first call blocks while libraries load."""
    from core.media.encode import wav_header

    return wav_header(sample_rate, data_bytes)


class RawEncoder:
    """The encoder of `pcm`: samples without a header, resampled to 24 kHz."""

    def __init__(self, sample_rate: int) -> None:
        import soxr

        self._resampler: soxr.ResampleStream = soxr.ResampleStream(sample_rate, RAW_SAMPLE_RATE, 1, dtype="int16")

    def feed(self, samples: bytes) -> bytes:
        return self._resample(samples, last=False)

    def finish(self) -> bytes:
        return self._resample(b"", last=True)

    def _resample(self, samples: bytes, last: bool) -> bytes:
        import numpy as np

        resampled: bytes = self._resampler.resample_chunk(np.frombuffer(samples, "<i2"), last=last).tobytes()
        return resampled
