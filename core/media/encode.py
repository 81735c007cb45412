"""Encoding of speech in the output formats, as a whole or as a stream."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Final

import av
import numpy as np
from numpy.typing import NDArray

from common.audio_formats import AUDIO_FORMATS, TELEPHONY_FORMATS, encoded_rate
from core.media.riff_info import info_chunk

TELEPHONY_FRAME: Final = 160
"""Samples of 20 ms."""

_CODECS: Final[dict[str, tuple[str, str, dict[str, str]]]] = {
    "flac": ("flac", "flac", {}),
    # The Xing header would have to be written last, at the start of the file.
    "mp3": ("mp3", "libmp3lame", {"write_xing": "0"}),
    # By default an Ogg page is held back until it has a second of audio.
    "opus": ("ogg", "libopus", {"page_duration": "20000"}),
    "aac": ("adts", "aac", {}),
    "pcm_mulaw": ("mulaw", "pcm_mulaw", {}),
    "pcm_alaw": ("alaw", "pcm_alaw", {}),
}
"""Format → container, codec and the container's options."""
NO_TAGS: Final[Mapping[str, str]] = {}


class Encoder:
    """Encodes a stream of 16-bit mono samples; bytes are returned as soon as the format allows.

    The length is unknown while it streams: a WAV header says 0xFFFFFFFF, which players read as "to the end".
    """

    def __init__(
        self, format: str, sample_rate: int, *, bit_rate: int | None = None, tags: Mapping[str, str] = NO_TAGS
    ) -> None:
        """Begin a file of `format`; `bit_rate` in bits a second, None for one that suits speech.

        `tags`: names and texts that its header is to have: ID3 (mp3) or Vorbis comments (flac, opus). ADTS and raw
        samples have no place for them, nor has the header of a WAV that streams.
        """
        if format not in (*AUDIO_FORMATS, *TELEPHONY_FORMATS):
            raise ValueError(f"no format {format!r}; there are {', '.join((*AUDIO_FORMATS, *TELEPHONY_FORMATS))}")
        self.format = format
        self.sample_rate = sample_rate
        self._bit_rate = bit_rate
        self._tags = tags
        self._sink = _Sink()
        self._started = False
        if format not in ("wav", "pcm"):
            self._open()

    def feed(self, samples: bytes) -> bytes:
        """Encode little-endian int16 samples; return the bytes that are ready, possibly none."""
        if self.format == "pcm":
            return samples
        if self.format == "wav":
            header = b"" if self._started else wav_header(self.sample_rate, None)
            self._started = True
            return header + samples
        if samples:
            self._encode(np.frombuffer(samples, dtype="<i2"))
        return self._sink.take()

    def finish(self) -> bytes:
        """Return the end of the file; nothing may be fed after it."""
        if self.format == "pcm":
            return b""
        if self.format == "wav":
            return b"" if self._started else self.feed(b"")
        for resampled in self._resampler.resample(None):
            self._container.mux(self._stream.encode(resampled))
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()

    def _open(self) -> None:
        container_name, codec, options = _CODECS[self.format]
        rate = encoded_rate(self.format, self.sample_rate)
        self._container: Any = av.open(self._sink, "w", format=container_name, options=options)
        stream: Any = self._container.add_stream(codec, rate=rate, layout="mono")
        self._container.metadata.update(self._tags)
        stream.metadata.update(self._tags)  # of Ogg, whose comments belong to a stream
        if self.format != "flac" and self.format not in TELEPHONY_FORMATS:
            # The lower rates of MP3 allow no more than 64 kbit/s.
            suitable = 64_000 if rate <= 24_000 or self.format == "opus" else 96_000
            stream.bit_rate = self._bit_rate or suitable
        self._stream = stream
        codec_context = stream.codec_context
        codec_context.open()
        self._resampler: Any = av.AudioResampler(
            format=codec_context.format.name,
            layout="mono",
            rate=rate,
            frame_size=codec_context.frame_size or (TELEPHONY_FRAME if self.format in TELEPHONY_FORMATS else 4096),
        )
        self._position = 0

    def _encode(self, samples: NDArray[np.int16]) -> None:
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self.sample_rate
        frame.time_base = Fraction(1, self.sample_rate)
        frame.pts = self._position
        self._position += len(samples)
        for resampled in self._resampler.resample(frame):
            self._container.mux(self._stream.encode(resampled))


def encode(
    samples: NDArray[np.int16] | Path, format: str, sample_rate: int = 0, *, tags: Mapping[str, str] = NO_TAGS
) -> bytes:
    """Return a complete file of mono int16 samples, or of a 16-bit mono WAV, whose rate then counts."""
    if isinstance(samples, Path):
        samples, sample_rate = read_wav(samples)
    raw = samples.astype("<i2", copy=False).tobytes()
    if format == "wav":
        return wav_file(raw, sample_rate, tags)
    encoder = Encoder(format, sample_rate, tags=tags)
    content = io.BytesIO(encoder.feed(raw) + encoder.finish())
    if format == "flac":
        write_flac_length(content, len(raw) // 2)
    return content.getvalue()


def write_flac_length(file: BinaryIO, samples: int) -> None:
    """Write the number of samples into a finished FLAC file, which a stream could not say at its start (RFC 9639, 8.2).

    The 36 bits end the eight bytes that begin with the sample rate, 18 bytes after the start.
    """
    file.seek(18)
    fields = int.from_bytes(file.read(8), "big")
    file.seek(18)
    file.write((fields >> 36 << 36 | samples).to_bytes(8, "big"))


def wav_file(samples: bytes, sample_rate: int, tags: Mapping[str, str] = NO_TAGS) -> bytes:
    """Return a complete WAV of 16-bit mono samples; the tags lie behind them, in a LIST chunk."""
    chunk = info_chunk(tags)
    return wav_header(sample_rate, len(samples), len(chunk)) + samples + chunk


def wav_header(sample_rate: int, data_bytes: int | None, chunk_bytes: int = 0) -> bytes:
    """Return the 44 bytes before 16-bit mono samples; `data_bytes` is None while the length is unknown.

    `chunk_bytes`: of the chunks that follow the samples.
    """
    size = 0xFFFFFFFF if data_bytes is None else data_bytes
    whole = 0xFFFFFFFF if data_bytes is None else data_bytes + 36 + chunk_bytes
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", whole, b"WAVE", b"fmt ", 16, 1, 1, sample_rate, sample_rate * 2, 2, 16, b"data", size,
    )  # fmt: skip


def read_wav(path: Path) -> tuple[NDArray[np.int16], int]:
    """Return int16 samples (T,) and rate of a 16-bit mono WAV of our own; raise ValueError for another one."""
    with wave.open(str(path), "rb") as file:
        if file.getnchannels() != 1 or file.getsampwidth() != 2:
            raise ValueError(f"{path.name} is no 16-bit mono WAV")
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2"), file.getframerate()


class _Sink:
    """A write-only file that returns what was written."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._chunks.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data
