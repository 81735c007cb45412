"""A generator that works frame by frame and ends in an inverse Fourier transform: the `dec` of nano.

A pulse train at the pitch and white noise are filtered, frame by frame, by magnitudes and phases that the network
predicts: source and filter, as in DDSP (Engel et al. 2020), with the ConvNeXt trunk of Vocos (Siuzdak 2023). It costs a
tenth of a HiFi-GAN and is learned in minutes where that takes days, because no layer has to produce an oscillation.

Shapes: B batch, C latent channels, G width of a style, T frames of 50 a second, W width; 2T + 1 frames of the
transform, R bins.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from GPT_SoVITS.sovits.config import FrameGeneratorConfig

REFERENCE_PITCH = 150.0
"""Hz; pitch is learned as the logarithm of its ratio to this."""
LOWEST, HIGHEST = 50.0, 600.0
"""Range of a predicted pitch in Hz."""
NOISE_SECONDS = 30
KERNEL = 7
"""Frames that a block spans."""
REACH = 12
"""Frames beyond these, within the receptive field of 41, change the audio of a frame less than other noise would."""


class Pitch(NamedTuple):
    """The predicted pitch of every frame."""

    log: Tensor
    """(B, T), logarithm of the pitch over `REFERENCE_PITCH`."""
    voiced: Tensor
    """(B, T), a logit."""

    def hertz(self) -> Tensor:
        """Return the pitch (B, T) in Hz, 0 where unvoiced."""
        f0 = (self.log.exp() * REFERENCE_PITCH).clamp(LOWEST, HIGHEST)
        return torch.where(self.voiced > 0, f0, 0.0)


class StyledConvNeXtBlock(nn.Module):
    """A ConvNeXt block: a depthwise convolution over time, then a feed-forward layer, conditioned on the style."""

    def __init__(self, width: int, style: int, *, scale: float = 0.3) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.style = nn.Linear(style, width)
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 3 * width)
        self.narrow = nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Transform (B, T, W) with a style (B, 1, G)."""
        h = self.depthwise(x.transpose(1, 2)).transpose(1, 2) + self.style(style)
        return x + self.scale * self.narrow(F.gelu(self.wide(self.norm(h))))


class PitchPredictor(nn.Module):
    """Predicts the pitch from latent frames and the style."""

    def __init__(self, channels: int, width: int, layers: int, style: int) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, width)
        self.blocks = nn.ModuleList(StyledConvNeXtBlock(width, style) for _ in range(layers))
        self.leave = nn.Linear(width, 2)

    def forward(self, z: Tensor, style: Tensor) -> Pitch:
        """Predict the pitch of a latent (B, C, T) with a style (B, G, 1)."""
        h, g = self.enter(z.transpose(1, 2)), style.transpose(1, 2)
        for block in self.blocks:
            h = block(h, g)
        log, voiced = self.leave(h).float().unbind(-1)
        return Pitch(log, voiced)


class FrameGenerator(nn.Module):
    """`dec` of nano."""

    window: Tensor
    noise: Tensor

    def __init__(self, config: FrameGeneratorConfig, *, channels: int, style: int) -> None:
        """Build it for a latent of so many channels and a style of this width."""
        super().__init__()
        width, fine_width = config.width, config.fine_width
        self.rate, self.hop = config.rate, config.hop
        self.fine_hop, self.size = config.hop // 2, 2 * config.hop
        self.reach = REACH
        """Frames to either side that a frame of audio depends on audibly."""
        bins = self.size // 2 + 1
        self.pitch = PitchPredictor(channels, config.pitch_width, config.pitch_layers, style)
        self.enter = nn.Conv1d(channels + 2, width, KERNEL, padding=KERNEL // 2)
        self.blocks = nn.ModuleList(StyledConvNeXtBlock(width, style) for _ in range(config.layers))
        self.split = nn.Linear(width, 2 * fine_width)
        self.source = nn.Linear(bins, fine_width)
        self.fine_blocks = nn.ModuleList(StyledConvNeXtBlock(fine_width, style) for _ in range(config.fine_layers))
        self.norm = nn.LayerNorm(fine_width)
        self.head = nn.Linear(fine_width, 3 * bins)
        nn.init.normal_(self.head.weight, std=0.02)
        with torch.no_grad():  # about as loud as speech
            self.head.bias.copy_(torch.cat([torch.full((bins,), value) for value in (-3.0, 0.0, -5.0)]))
        self.register_buffer("window", torch.hann_window(self.size), persistent=False)
        noise = torch.randn(self.rate * NOISE_SECONDS, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", noise, persistent=False)

    def forward(self, z: Tensor, style: Tensor, lengths: Tensor | None = None, *, f0: Tensor | None = None) -> Tensor:
        """Generate a waveform.

        Args:
            z: (B, C, T) latent.
            style: (B, G, 1).
            lengths: (B,) frames of each row, when they differ: a row is then as it is alone.
            f0: (B, T) in Hz, 0 where unvoiced, in place of the predicted pitch.

        Returns:
            (B, 1, T * hop).
        """
        if lengths is not None:
            waves = [self(z[i : i + 1, :, :n], style[i : i + 1])[0, 0] for i, n in enumerate(lengths.tolist())]
            return pad_sequence(waves, batch_first=True)[:, None]
        if f0 is None:
            f0 = self.pitch(z, style).hertz()
        length = z.shape[-1] * self.hop
        harmonic = self.transform(pulses(f0, self.rate, self.hop))  # (B, R, 2T + 1)
        noise = self.transform(self._noise_like(z.shape[0], length))
        log_gain, phase, log_noise_gain = self._filters(z, style, f0, harmonic).transpose(1, 2).chunk(3, dim=1)
        gain, noise_gain = log_gain.clamp(max=6.0).exp(), log_noise_gain.clamp(max=6.0).exp()
        spectrum = harmonic * torch.polar(gain, phase) + noise * noise_gain
        wave = torch.istft(spectrum, self.size, self.fine_hop, window=self.window, length=length)
        return wave[:, None]

    def transform(self, wave: Tensor) -> Tensor:
        """Return the complex spectrum (B, R, N / fine hop + 1) of a waveform (B, N)."""
        return torch.stft(
            wave, self.size, self.fine_hop, window=self.window, pad_mode="constant", return_complex=True
        )  # fmt: skip

    def _filters(self, z: Tensor, style: Tensor, f0: Tensor, harmonic: Tensor) -> Tensor:
        """Predict the filters, (B, 2T + 1, 3R).

        Log magnitude and phase of the harmonic one, log magnitude of the noise's.
        """
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
        """Return noise (B, N), always the same, so that a sentence does not depend on the other rows of a batch."""
        start = int(torch.randint(len(self.noise), ())) if self.training else 0
        repeats = -(-(start + length) // len(self.noise))
        return self.noise.repeat(repeats)[start : start + length].expand(rows, -1)


def pulses(f0: Tensor, rate: int, hop: int) -> Tensor:
    """Synthesize a pulse train (B, T * hop) from a pitch (B, T) in Hz.

    All harmonics below the Nyquist frequency have equal strength, together unit power; unvoiced frames are zero.
    """
    voiced = f0 > 0
    # Unvoiced frames take the last voiced pitch before them, or the reference.
    index = torch.arange(f0.shape[1], device=f0.device).expand_as(f0)
    last = torch.where(voiced, index, -1).cummax(dim=1).values
    smooth = torch.where(last >= 0, f0.gather(1, last.clamp_min(0)), REFERENCE_PITCH)
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
