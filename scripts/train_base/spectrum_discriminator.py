"""Tells generated spectra from recorded ones, so that a generator learns detail that a mean error leaves blurred.

As in UnivNet (Jang et al. 2021), small enough for two cores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RESOLUTIONS: Final = ((1024, 256), (512, 128), (256, 64))
"""Size and hop of the spectrum that each part sees, in samples."""
CHANNELS: Final = 16
COMPRESSION: Final = 0.3
"""Exponent of the magnitudes: what is quiet counts, too."""
SLOPE: Final = 0.1
KERNEL: Final = (3, 9)
"""Frames and bins."""


@dataclass(frozen=True, slots=True)
class Judgements:
    """What each part made of a batch."""

    scores: list[Tensor]
    """1 where a spectrum looks recorded."""
    features: list[Tensor]
    """Of every layer but the last."""


class SpectrumDiscriminator(nn.Module):
    """One stack of convolutions for each resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(_Part(size, hop) for size, hop in RESOLUTIONS)

    def forward(self, wave: Tensor) -> Judgements:
        """Judge (B, N) at 16 kHz."""
        scores, features = [], []
        for part in self.parts:
            *inner, score = part(wave)
            scores.append(score)
            features += inner
        return Judgements(scores, features)


class _Part(nn.Module):
    window: Tensor

    def __init__(self, size: int, hop: int) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        padding = KERNEL[0] // 2, KERNEL[1] // 2
        strides = ((1, 2), (1, 2), (1, 2), (1, 1))
        widths = (1, *[CHANNELS] * len(strides))
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(before, after, KERNEL, stride, padding))
            for before, after, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.last = nn.utils.parametrizations.weight_norm(nn.Conv2d(CHANNELS, 1, 3, padding=1))

    def forward(self, wave: Tensor) -> list[Tensor]:
        spectrum = torch.stft(wave.float(), self.size, self.hop, window=self.window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        h = (power + 1e-7).pow(COMPRESSION / 2).transpose(1, 2)[:, None]  # (B, 1, T, bins)
        outputs = []
        for layer in self.layers:
            h = F.leaky_relu(layer(h), SLOPE)
            outputs.append(h)
        return [*outputs, self.last(h)]


def discriminator_loss(recorded: Judgements, generated: Judgements) -> Tensor:
    """Return the squared errors of the scores (Mao et al. 2017)."""
    losses = [
        (1 - real.float()).square().mean() + fake.float().square().mean()
        for real, fake in zip(recorded.scores, generated.scores, strict=True)
    ]
    return torch.stack(losses).mean()


def generator_losses(recorded: Judgements, generated: Judgements) -> dict[str, Tensor]:
    """Return how recognizable generated speech is, and how far its features are from those of the recorded one."""
    adversarial = [(1 - score.float()).square().mean() for score in generated.scores]
    features = [
        (fake.float() - real.detach().float()).abs().mean() / real.detach().float().abs().mean().clamp_min(1e-3)
        for real, fake in zip(recorded.features, generated.features, strict=True)
    ]
    return {"adversarial": torch.stack(adversarial).mean(), "features": torch.stack(features).mean()}


class Adversary:
    """A discriminator that learns as the generator does."""

    def __init__(self, rate: float = 4e-4) -> None:
        self.discriminator = SpectrumDiscriminator()
        self.optimizer = torch.optim.AdamW(self.discriminator.parameters(), lr=rate, betas=(0.8, 0.99))

    def losses(self, generated: Tensor, recorded: Tensor) -> dict[str, Tensor]:
        """Train the discriminator on waveforms (B, N), and return the losses of what generated them."""
        self.discriminator.requires_grad_(True)
        loss = discriminator_loss(self.discriminator(recorded), self.discriminator(generated.detach()))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.discriminator.requires_grad_(False)
        with torch.no_grad():
            real = self.discriminator(recorded)
        return generator_losses(real, self.discriminator(generated)) | {"discriminator": loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        """Return what a training goes on from."""
        return {"model": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what another one was."""
        self.discriminator.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
