"""Sounds to send: made here, never stored."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import cast

import av
import numpy as np

RATE = 16_000


def wav_bytes(data: bytes, *, channels: int = 1, rate: int = RATE, bits: int = 16, float_: bool = False) -> bytes:
    """Return a WAV around raw sample data."""
    frame = channels * bits // 8
    kind = 3 if float_ else 1
    bytes_per_second = min(rate * frame, 2**32 - 1)
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, kind, channels, rate, bytes_per_second, frame, bits,
        b"data", len(data),
    )  # fmt: skip
    return header + data


def contained(samples: np.ndarray, container: str, codec: str, path: Path) -> bytes:
    """Return the samples as a file of that container and codec."""
    with av.open(str(path), "w", format=container) as output:
        rate = 48_000 if codec == "libopus" else RATE
        stream = cast(av.AudioStream, output.add_stream(codec, rate=rate, layout="mono"))
        context = stream.codec_context
        context.open()
        resampler = av.AudioResampler(
            format=context.format.name, layout="mono", rate=context.sample_rate, frame_size=context.frame_size or 4096
        )
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return path.read_bytes()
