"""A reference recording as every version reads it (inference-pipeline §2 and §3): once, and never again for a request.

What a recording becomes depends on the voice's weights, so a prompt belongs to the pipeline that prepared it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS import audio
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.mel import log_mel, normalise, resample, spectrogram
from GPT_SoVITS.synthesis.mel_synthesis import MelPrompt

CONTENT_RATE = 16_000
"""Hz, of what content features and speaker vectors are made from."""
TAIL_SAMPLES = int(0.3 * 32_000)
"""Zeros after a recording before official versions turn it into tokens. The original counts 0.3 s at its output's rate,
so at 16 kHz they last 0.6 s; its weights and its users' prompts are used to that."""
BOUNDS = {"nano": (1.0, 30.0)}
OFFICIAL_BOUNDS = (3.0, 10.0)
"""Shortest and longest reference recording, in seconds."""
LARGEST_KERNEL = 1 << 24
"""Numbers in a resampling kernel. Rates without a common divisor would take more, so soxr takes their place."""


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
    """What v3 and v4 continue; None for the other versions."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The sound of a reference, mono, at its own rate."""

    samples: np.ndarray
    rate: int

    @classmethod
    def read(cls, path: Path, version: str) -> Recording:
        """Raises ModelError("bad_prompt") when it is too short or too long for the version."""
        samples, rate = audio.read_mono(path)
        seconds = len(samples) / rate
        shortest, longest = BOUNDS.get(version, OFFICIAL_BOUNDS)
        if not shortest <= seconds <= longest:
            why = "" if version in BOUNDS else f"; {version} was trained on prompts of that length"
            raise ModelError(
                "bad_prompt",
                f"The reference recording lasts {seconds:.1f} s.",
                hint=f"{shortest:.0f} to {longest:.0f} s work{why}.",
            )
        return cls(samples, rate)

    def at(self, rate: int) -> Tensor:
        """(1, N) at another rate, by the resampler behind which the official weights were trained."""
        common = math.gcd(self.rate, rate)
        if (self.rate // common) * (rate // common) > LARGEST_KERNEL:
            return torch.from_numpy(audio.resample(self.samples, self.rate, rate))[None]
        return resample(torch.from_numpy(self.samples), self.rate, rate)[None]

    def for_tokens(self) -> np.ndarray:
        """(N,) at 16 kHz, with the silence that makes the recording's end sound like an end."""
        return np.pad(audio.resample(self.samples, self.rate, CONTENT_RATE), (0, TAIL_SAMPLES))

    def for_style(self, data: dict[str, Any]) -> Tensor:
        """(1, F, T) spectrogram that the style encoder reads; `data` is the recipe's section of that name."""
        wave = limited(self.at(data["sampling_rate"]))
        return spectrogram(wave, n_fft=data["filter_length"], hop=data["hop_length"], win=data["win_length"])

    def for_speaker(self) -> np.ndarray:
        """(N,) at 16 kHz, in [-1, 1], what a speaker's vector is made from; resampled once, unlike in the original."""
        return limited(self.at(CONTENT_RATE))[0].numpy()

    def for_mel(self, mel: dict[str, Any]) -> Tensor:
        """(1, M, T) normalised log-mel; `mel` is the recipe's section of that name. Not limited, as in training."""
        return normalise(log_mel(self.at(mel["sampling_rate"]), **mel))


def limited(wave: Tensor, *, compat: Literal["reference"] | None = None) -> Tensor:
    """A wave that is too loud, scaled down to full scale. `compat="reference"` divides by 2 at most, so that a peak
    above 2 stays above 1."""
    peak = float(wave.abs().max()) if wave.numel() else 0.0
    if peak <= 1.0:
        return wave
    return wave / (min(peak, 2.0) if compat == "reference" else peak)
