"""Change of the sample rate of mono 16-bit samples, in one go or piece by piece."""

from __future__ import annotations

from typing import Final

import numpy as np
import soxr

QUALITY: Final = "VHQ"


class Resampler:
    """Resamples a stream; the pieces joined are what the whole would become."""

    def __init__(self, source_rate: int, target_rate: int) -> None:
        self._stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="int16", quality=QUALITY)

    def feed(self, samples: bytes) -> bytes:
        """Return what is ready after these samples."""
        return self._resample(samples, last=False)

    def finish(self) -> bytes:
        """Return the rest; nothing may be fed after it."""
        return self._resample(b"", last=True)

    def _resample(self, samples: bytes, *, last: bool) -> bytes:
        resampled: bytes = self._stream.resample_chunk(np.frombuffer(samples, "<i2"), last=last).tobytes()
        return resampled
