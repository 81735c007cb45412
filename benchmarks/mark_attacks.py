"""What happens to marked speech on its way: codecs, telephones, noise, cutting, another volume."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import av
import numpy as np
import soxr

from benchmarks.mark_recordings import RATE, Samples


def through_codec(samples: Samples, container: str, codec: str, rate: int, bit_rate: int) -> Samples:
    """Compress and decompress."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate)
        fifo = av.AudioFifo()
        for resampled in (*resampler.resample(frame), *resampler.resample(None)):
            fifo.write(resampled)
        size = stream.codec_context.frame_size or 960
        while (piece := fifo.read(size, partial=True)) is not None:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as source:
        to_samples = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        frames = [part for frame in source.decode(audio=0) for part in to_samples.resample(frame)]
        frames += to_samples.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16)


def through_telephone(samples: Samples) -> Samples:
    """Resample to 8 kHz and back."""
    narrow = soxr.resample(samples, RATE, 8_000)
    resampled: Samples = soxr.resample(narrow, 8_000, RATE)
    return resampled


def with_noise(samples: Samples) -> Samples:
    """Add white noise, 20 dB below the speech."""
    clean = samples.astype(np.float32)
    level = float(np.sqrt(np.mean(clean**2))) / 10
    noise = np.random.default_rng(len(samples)).normal(0, level, len(clean))
    return np.clip(clean + noise, -32768, 32767).astype(np.int16)


def cropped(samples: Samples) -> Samples:
    """Keep three seconds from the middle, at an odd place."""
    start = (len(samples) - 3 * RATE) // 2 + 137
    return samples[start : start + 3 * RATE]


ATTACKS: Final[dict[str, Callable[[Samples], Samples]]] = {
    "as delivered": lambda samples: samples,
    "mp3, 64 kbit/s": lambda samples: through_codec(samples, "mp3", "libmp3lame", RATE, 64_000),
    "opus, 24 kbit/s": lambda samples: through_codec(samples, "ogg", "libopus", 48_000, 24_000),
    "8 kHz and back": through_telephone,
    "noise at 20 dB": with_noise,
    "3 s of it": cropped,
    "12 dB quieter": lambda samples: np.rint(samples * 10 ** (-12 / 20)).astype(np.int16),
}
