"""A generator that works frame by frame and ends in an inverse Fourier transform: the `dec` of nano.

A pulse train at the pitch and white noise are filtered, frame by frame, by magnitudes and phases that the network
finds: source and filter, as in DDSP (Engel et al. 2020), with the ConvNeXt trunk of Vocos (Siuzdak 2023). It costs a
tenth of a HiFi-GAN and is learnt in minutes where that takes days, because no layer has to invent an oscillation.

Shapes: B batch, T frames of 50 a second, W width; 2T + 1 frames of the transform, R bins.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

REFERENCE_PITCH = 150.0
"""Hz; pitch is learnt as the logarithm of its ratio to this."""
LOWEST, HIGHEST = 50.0, 600.0
"""Hz that a predicted pitch may take."""
NOISE_SECONDS = 30
KERNEL = 7
"""Frames that a block reads."""


class Pitch(NamedTuple):
    """What the predictor says of every frame."""

    log: Tensor
    """(B, T), log of the pitch over `REFERENCE_PITCH`."""
    voiced: Tensor
    """(B, T), a logit."""

    def hertz(self) -> Tensor:
        """(B, T), 0 where nothing is voiced."""
        f0 = (self.log.exp() * REFERENCE_PITCH).clamp(LOWEST, HIGHEST)
        return torch.where(self.voiced > 0, f0, 0.0)


class StyledConvNeXtBlock(nn.Module):
    """ConvNeXt: a depthwise convolution over time, then a feed-forward step that knows the style."""

    def __init__(self, width: int, style: int, *, scale: float = 0.3) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.style = nn.Linear(style, width)
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 3 * width)
        self.narrow = nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x (B, T, W), style (B, 1, G)."""
        h = self.depthwise(x.transpose(1, 2)).transpose(1, 2) + self.style(style)
        return x + self.scale * self.narrow(F.gelu(self.wide(self.norm(h))))


class PitchPredictor(nn.Module):
    """Latent frames and style to a pitch."""

    def __init__(self, channels: int, width: int, layers: int, style: int) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, width)
        self.blocks = nn.ModuleList(StyledConvNeXtBlock(width, style) for _ in range(layers))
        self.leave = nn.Linear(width, 2)

    def forward(self, z: Tensor, style: Tensor) -> Pitch:
        """z (B, C, T), style (B, G, 1)."""
        h, g = self.enter(z.transpose(1, 2)), style.transpose(1, 2)
        for block in self.blocks:
            h = block(h, g)
        log, voiced = self.leave(h).float().unbind(-1)
        return Pitch(log, voiced)


class FrameGenerator(nn.Module):
    """`dec` of nano: z (B, C, T), style (B, G, 1) -> (B, 1, T * hop)."""

    def __init__(
        self, *, channels: int, style: int, rate: int, hop: int, width: int, layers: int, fine_width: int,
        fine_layers: int, pitch_width: int, pitch_layers: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.rate, self.hop = rate, hop
        self.fine_hop, self.size = hop // 2, 2 * hop
        trunk = KERNEL // 2 * (1 + layers + pitch_layers)
        self.reach = trunk + -(-(KERNEL // 2 * fine_layers + self.size // self.fine_hop) // 2)
        """Frames to either side that a frame of sound is made from."""
        bins = self.size // 2 + 1
        self.pitch = PitchPredictor(channels, pitch_width, pitch_layers, style)
        self.enter = nn.Conv1d(channels + 2, width, KERNEL, padding=KERNEL // 2)
        self.blocks = nn.ModuleList(StyledConvNeXtBlock(width, style) for _ in range(layers))
        self.split = nn.Linear(width, 2 * fine_width)
        self.source = nn.Linear(bins, fine_width)
        self.fine_blocks = nn.ModuleList(StyledConvNeXtBlock(fine_width, style) for _ in range(fine_layers))
        self.norm = nn.LayerNorm(fine_width)
        self.head = nn.Linear(fine_width, 3 * bins)
        nn.init.normal_(self.head.weight, std=0.02)
        with torch.no_grad():  # about as loud as speech
            self.head.bias.copy_(torch.cat([torch.full((bins,), value) for value in (-3.0, 0.0, -5.0)]))
        self.register_buffer("window", torch.hann_window(self.size), persistent=False)
        self.register_buffer("noise", _noise(rate * NOISE_SECONDS), persistent=False)

    def forward(self, z: Tensor, style: Tensor, lengths: Tensor | None = None, *, f0: Tensor | None = None) -> Tensor:
        """`lengths` (B,) frames of each row, when they differ: a row sounds as it does alone. `f0` (B, T) in Hz, 0
        where unvoiced, takes the place of the predicted pitch."""
        if lengths is not None:
            waves = [self(z[i : i + 1, :, :n], style[i : i + 1])[0, 0] for i, n in enumerate(lengths.tolist())]
            return pad_sequence(waves, batch_first=True)[:, None]
        if f0 is None:
            f0 = self.pitch(z, style).hertz()
        length = z.shape[-1] * self.hop
        harmonic = self.transform(pulses(f0, self.rate, self.hop))  # (B, R, 2T + 1)
        noise = self.transform(self._noise_like(z.shape[0], length))
        loud, turn, breath = self._filters(z, style, f0, harmonic).transpose(1, 2).chunk(3, dim=1)
        loud, breath = loud.clamp(max=6.0).exp(), breath.clamp(max=6.0).exp()
        spectrum = harmonic * torch.polar(loud, turn) + noise * breath
        wave = torch.istft(spectrum, self.size, self.fine_hop, window=self.window, length=length)
        return wave[:, None]

    def transform(self, wave: Tensor) -> Tensor:
        """(B, N) -> (B, R, N / fine hop + 1), complex."""
        return torch.stft(
            wave, self.size, self.fine_hop, window=self.window, pad_mode="constant", return_complex=True
        )  # fmt: skip

    def _filters(self, z: Tensor, style: Tensor, f0: Tensor, harmonic: Tensor) -> Tensor:
        """(B, 2T + 1, 3R): log magnitude and phase of the harmonic filter, log magnitude of the noise's."""
        voiced = f0 > 0
        log = torch.where(voiced, (f0.clamp_min(LOWEST) / REFERENCE_PITCH).log(), 0.0)
        g = style.transpose(1, 2)
        h = self.enter(torch.cat([z, log[:, None].to(z), voiced[:, None].to(z)], dim=1)).transpose(1, 2)
        for block in self.blocks:
            h = block(h, g)
        h = self.split(h).unflatten(2, (2, -1)).flatten(1, 2)  # (B, 2T, W')
        h = torch.cat([h, h[:, -1:]], dim=1)  # (B, 2T + 1, W')
        h = h + self.source((harmonic.abs() + 1e-3).log().transpose(1, 2))
        for block in self.fine_blocks:
            h = block(h, g)
        return self.head(self.norm(h)).float()

    def _noise_like(self, rows: int, length: int) -> Tensor:
        """(B, N): always the same noise, so that a sentence sounds the same whoever shares its batch."""
        start = int(torch.randint(len(self.noise), ())) if self.training else 0
        repeats = -(-(start + length) // len(self.noise))
        return self.noise.repeat(repeats)[start : start + length].expand(rows, -1)


def pulses(f0: Tensor, rate: int, hop: int) -> Tensor:
    """(B, T) Hz -> (B, T * hop): all harmonics below the Nyquist frequency at equal strength, of unit power while
    voiced, zero elsewhere."""
    voiced = f0 > 0
    smooth = _filled(f0, voiced)
    length = f0.shape[1] * hop
    hertz = F.interpolate(smooth[:, None], size=length, mode="linear")[:, 0]  # (B, N)
    phase = 2 * math.pi * torch.remainder(torch.cumsum(hertz.double() / rate, dim=1), 1.0)
    count = torch.floor(0.47 * rate / hertz).double()
    half = torch.sin(phase / 2)
    near = half.abs() < 1e-4
    kernel = torch.sin((count + 0.5) * phase) / torch.where(near, 1.0, half)
    kernel = torch.where(near, 2 * count + 1, kernel)  # the sum of all cosines, in closed form
    train = ((kernel - 1) / 2 * torch.sqrt(2 / count)).float()
    return train * voiced.repeat_interleave(hop, dim=1)


def _filled(f0: Tensor, voiced: Tensor) -> Tensor:
    """Unvoiced frames take the last voiced pitch before them, or the reference."""
    index = torch.arange(f0.shape[1], device=f0.device).expand_as(f0)
    last = torch.where(voiced, index, -1).cummax(dim=1).values
    return torch.where(last >= 0, f0.gather(1, last.clamp_min(0)), REFERENCE_PITCH)


def _noise(samples: int) -> Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(0))
