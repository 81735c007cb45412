"""How far generated speech is from its speaker, by a frozen network: so a style encoder learns to serve any speaker."""

from __future__ import annotations

import random
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.features.resemblyzer import FFT, HOP, PARTIAL_FRAMES, TARGET_DB, SpeakerEncoder
from scripts.train_base.clips import Clip

CLIPS_OF_A_SPEAKER: Final = 6
SAMPLES: Final = PARTIAL_FRAMES * HOP
"""Of one partial of the network: 1.6 s at 16 kHz."""


class SpeakerLoss:
    """1 − the cosine between the embedding of what is generated and the speaker's own."""

    def __init__(self, by_speaker: dict[str, list[Clip]], seed: int = 1) -> None:
        """Embed each speaker once, as the mean of some clips."""
        self.encoder = SpeakerEncoder.load().requires_grad_(False)
        self.window = torch.hann_window(FFT)
        generator = random.Random(seed)
        self.speakers: dict[str, Tensor] = {}
        for speaker, clips in sorted(by_speaker.items()):
            chosen = generator.sample(clips, min(CLIPS_OF_A_SPEAKER, len(clips)))
            vectors = [self.encoder.embed(clip.wave.astype(np.float32) / 32768) for clip in chosen]
            self.speakers[speaker] = F.normalize(torch.from_numpy(np.mean(vectors, axis=0)), dim=0)

    def __call__(self, waves: Tensor, speakers: list[str]) -> Tensor:
        """Compare (B, N) at 16 kHz, 1.6 s or a little more of each, with the speakers of the rows."""
        gain = 10 ** (TARGET_DB / 20) / waves.detach().square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-5)
        spectrum = torch.stft(
            waves[:, : SAMPLES - 1] * gain.clamp_min(1.0),
            FFT,
            HOP,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )  # (B, 201, 160)
        mel = (self.encoder.basis @ (spectrum.real.square() + spectrum.imag.square())).transpose(1, 2)
        _, (hidden, _) = self.encoder.lstm(mel)
        vectors = F.normalize(torch.relu(self.encoder.linear(hidden[-1])), dim=1)
        targets = torch.stack([self.speakers[speaker] for speaker in speakers])
        return 1 - (vectors * targets).sum(dim=1).mean()
