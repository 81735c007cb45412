"""Reference recordings as each version reads them (inference-pipeline §2 and §3), once for all requests.

What a recording becomes depends on the voice's weights, so a prompt belongs to the pipeline that prepared it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.limits import prompt_seconds
from GPT_SoVITS import audio
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.mel import LogMelConfig, log_mel, normalize, resample, spectrogram
from GPT_SoVITS.sovits.config import SpectrogramConfig
from GPT_SoVITS.synthesis.mel_synthesis import MelPrompt

CONTENT_RATE = 16_000
"""Hz at which content features and speaker vectors are computed."""
TAIL_SAMPLES = int(0.3 * 32_000)
"""Zeros after a recording before official versions turn it into tokens. Upstream counts 0.3 s at its output's rate,
so at 16 kHz they last 0.6 s; its weights and its users' prompts are used to that."""
MAX_KERNEL_SIZE = 1 << 24
"""Numbers in a resampling kernel. Rates without a common divisor would need more; soxr resamples those."""


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A reference recording as the models read it; computed once per voice, on the voice's device."""

    tokens: Tensor
    """(P,) semantic tokens of the recording."""
    phones: Tensor
    """(N,) phoneme ids of its transcript; empty when there is none."""
    style: Tensor
    """(1, G, 1) style vector, the mean of those of all recordings."""
    bert: Tensor | None = None
    """(1024, N) features of its transcript; None stands for zeros."""
    mel: MelPrompt | None = None
    """The beginning of every sentence of v3 and v4; None for the other versions."""
    shows_speech: bool = False
    """Whether the attention to its transcript shows what its tokens speak (`verification/attention.py`)."""
    key: Hashable | None = None
    """Stands for the same prompt in the same voice wherever it is equal; None for no other prompt."""


@dataclass(frozen=True, slots=True)
class ReferenceRecording:
    """The samples of a reference recording, mono, at its own rate."""

    samples: np.ndarray
    """(N,) float32."""
    rate: int
    """Hz."""

    @classmethod
    def read(cls, path: Path, version: str) -> ReferenceRecording:
        """Read an audio file.

        Raises:
            ModelError: "bad_prompt" when it is too short or too long for the version; "bad_audio".
        """
        samples, rate = audio.read_mono(path)
        seconds = len(samples) / rate
        shortest, longest = prompt_seconds(version)
        if not shortest <= seconds <= longest:
            reason = "" if version == "nano" else f"; {version} was trained on prompts of that length"
            raise ModelError(
                "bad_prompt",
                f"The reference recording lasts {seconds:.1f} s.",
                hint=f"{shortest:.0f} to {longest:.0f} s work{reason}.",
            )
        return cls(samples, rate)

    def resampled(self, rate: int) -> Tensor:
        """Resample to (1, N) at `rate` Hz, by the resampler behind which the official weights were trained."""
        divisor = math.gcd(self.rate, rate)
        if (self.rate // divisor) * (rate // divisor) > MAX_KERNEL_SIZE:
            return torch.from_numpy(audio.resample(self.samples, self.rate, rate))[None]
        return resample(torch.from_numpy(self.samples), self.rate, rate)[None]

    def content_samples(self) -> np.ndarray:
        """Return (N,) at 16 kHz for the content encoder, with silence that makes the end sound like an end."""
        return np.pad(audio.resample(self.samples, self.rate, CONTENT_RATE), (0, TAIL_SAMPLES))

    def speaker_samples(self) -> np.ndarray:
        """Return (N,) at 16 kHz in [-1, 1] for the speaker encoder; resampled once, unlike upstream."""
        samples: np.ndarray = limit_peak(self.resampled(CONTENT_RATE))[0].numpy()
        return samples

    def style_spectrogram(self, config: SpectrogramConfig) -> Tensor:
        """Return the spectrogram (1, F, T) for the style encoder."""
        wave = limit_peak(self.resampled(config.sampling_rate))
        return spectrogram(wave, n_fft=config.filter_length, hop=config.hop_length, win=config.win_length)

    def normalized_mel(self, config: LogMelConfig) -> Tensor:
        """Return the log-mel (1, M, T), normalized. As in training, the wave's peak is not limited."""
        return normalize(log_mel(self.resampled(config.sampling_rate), config))


def limit_peak(wave: Tensor) -> Tensor:
    """Scale a wave whose peak exceeds 1 down to full scale."""
    peak = float(wave.abs().max()) if wave.numel() else 0.0
    return wave / peak if peak > 1.0 else wave
