"""Makes encoders for listeners; what they need (25 MB) is loaded with the first speech, not with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol

from common.audio_formats import MEDIA_TYPES

if TYPE_CHECKING:
    import soxr

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

PCM_RATE: Final = 24_000
"""Raw samples carry no rate: OpenAI's clients take them for 24 kHz."""


class SoundEncoder(Protocol):
    """16-bit mono samples in, a file's bytes out."""

    def feed(self, samples: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


def new_encoder(kind: Format, sample_rate: int) -> SoundEncoder:
    """Blocks while the libraries load, the first time."""
    if kind == "pcm":
        return RawSamples(sample_rate)
    from core.media.encode import Encoder

    return Encoder(kind, sample_rate)


def media_type(kind: Format) -> str:
    return MEDIA_TYPES[kind]


class RawSamples:
    """The encoder that encodes nothing: samples at the one rate that clients expect."""

    def __init__(self, sample_rate: int) -> None:
        import soxr

        self._resampler: soxr.ResampleStream = soxr.ResampleStream(sample_rate, PCM_RATE, 1, dtype="int16")

    def feed(self, samples: bytes) -> bytes:
        return self._resample(samples, last=False)

    def finish(self) -> bytes:
        return self._resample(b"", last=True)

    def _resample(self, samples: bytes, last: bool) -> bytes:
        import numpy as np

        made: bytes = self._resampler.resample_chunk(np.frombuffer(samples, "<i2"), last=last).tobytes()
        return made
