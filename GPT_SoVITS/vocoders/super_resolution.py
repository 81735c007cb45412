"""AP-BWE, 24 kHz to 48 kHz by two streams of amplitude and phase (Lu et al. 2024; specification s2-v3v4 §12)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.checkpoints.pretrained import assign_weights, in_float32, read_config, read_state
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.mel import resample

logger = logging.getLogger(__name__)

INPUT_RATE = 24_000
MIN_AMPLITUDE = 1e-4
"""Added before the logarithm."""
NORM_EPSILON = 1e-6
WEIGHTS_FILE = "g_24kto48k.zip"


@dataclass(frozen=True, slots=True)
class SuperResolutionSizes:
    """Sizes of the network, as its configuration says."""

    n_fft: int
    hop: int
    window: int
    """Samples of the Hann window, at most `n_fft`."""
    sample_rate: int
    """Hz of the output."""
    channels: int
    layers: int

    @property
    def bins(self) -> int:
        """Frequency bins of a frame."""
        return self.n_fft // 2 + 1


def load_super_resolution(
    location: Path, *, device: torch.device | str = "cpu", required: bool = False
) -> SuperResolution | None:
    """Open the network in the models folder or its own folder.

    Where its files are absent, log that and return None, for the audio is complete at 24 kHz.

    Raises:
        ModelError: "missing_part" when it is `required` and absent; "bad_vocoder" or "unsafe_checkpoint" when it is
            there and cannot be used.
    """
    try:
        folder = location if (location / WEIGHTS_FILE).is_file() else find_part(location, "super_resolution", "v3")
    except ModelError as error:
        if required:
            raise
        logger.warning("Sound stays at 24 kHz: %s %s", error.message, error.hint)
        return None
    state = read_state(
        folder / WEIGHTS_FILE, entry="generator", damage_code="bad_vocoder", unsafe_code="unsafe_checkpoint"
    )
    return super_resolution(read_config(folder / "config.json", damage_code="bad_vocoder"), state).to(device)


def super_resolution(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> SuperResolution:
    """Build the network from the contents of both files. Raises ModelError("bad_vocoder")."""
    with torch.device("meta"):
        model = SuperResolution(super_resolution_sizes(config))
    assign_weights(model, in_float32(state), source=WEIGHTS_FILE, error_code="bad_vocoder")
    return model


def super_resolution_sizes(config: Mapping[str, Any]) -> SuperResolutionSizes:
    """Read and check the configuration. Raises ModelError("bad_vocoder")."""
    names = ("n_fft", "hop_size", "win_size", "hr_sampling_rate", "ConvNeXt_channels", "ConvNeXt_layers")
    try:
        sizes = SuperResolutionSizes(*(int(config[name]) for name in names))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("bad_vocoder", f"The configuration of AP-BWE is incomplete: {error!r}.") from error
    values = (sizes.n_fft, sizes.hop, sizes.window, sizes.sample_rate, sizes.channels, sizes.layers)
    if min(values) < 1 or sizes.window > sizes.n_fft or sizes.hop > sizes.window or sizes.n_fft % 2:
        raise ModelError(
            "bad_vocoder",
            f"The configuration of AP-BWE makes no sense: {dict(zip(names, values))}.",
            hint="hop_size <= win_size <= n_fft, which is even, and all above 0.",
        )
    return sizes


class SuperResolution(nn.Module):
    """Fills the upper half of the band; names are official keys."""

    def __init__(self, sizes: SuperResolutionSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.sample_rate = sizes.sample_rate
        channels, bins = sizes.channels, sizes.bins
        self.conv_pre_mag = nn.Conv1d(bins, channels, 7, padding=3)
        self.norm_pre_mag = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.conv_pre_pha = nn.Conv1d(bins, channels, 7, padding=3)
        self.norm_pre_pha = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.convnext_mag = nn.ModuleList(ScaledConvNeXtBlock(channels) for _ in range(sizes.layers))
        self.convnext_pha = nn.ModuleList(ScaledConvNeXtBlock(channels) for _ in range(sizes.layers))
        self.norm_post_mag = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.norm_post_pha = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.linear_post_mag = nn.Linear(channels, bins)
        self.linear_post_pha_r = nn.Linear(channels, bins)
        self.linear_post_pha_i = nn.Linear(channels, bins)

    @torch.inference_mode()
    def forward(self, wave: Tensor) -> Tensor:
        """Extend wave (B, N) at 24 kHz -> (B, 2 N), each row scaled down where it would exceed 1."""
        coarse = resample(wave.float(), INPUT_RATE, self.sample_rate)
        fine = coarse
        if coarse.shape[-1] > self.sizes.n_fft // 2:  # long enough to be reflected at its ends
            fine = self.synthesize(*self.extend(*self.analyze(coarse)), coarse.shape[-1])
        return fine / fine.abs().amax(dim=-1, keepdim=True).clamp_min(1.0)

    def analyze(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Transform (B, N) to log amplitude and phase, (B, n_fft // 2 + 1, N // hop + 1) each."""
        size = self.sizes
        window = torch.hann_window(size.window, device=wave.device)
        spectrum = torch.stft(wave, size.n_fft, size.hop, size.window, window, center=True, return_complex=True)
        return (spectrum.abs() + MIN_AMPLITUDE).log(), spectrum.angle()

    def extend(self, amplitude: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
        """Predict log amplitude and phase (B, F, T) of the whole band from those of the narrow band."""
        magnitude = self.norm_pre_mag(self.conv_pre_mag(amplitude).transpose(1, 2))  # (B, T, C)
        angle = self.norm_pre_pha(self.conv_pre_pha(phase).transpose(1, 2))
        for magnitude_block, angle_block in zip(self.convnext_mag, self.convnext_pha):
            magnitude = magnitude + angle
            angle = angle + magnitude
            magnitude, angle = magnitude_block(magnitude), angle_block(angle)
        gain = self.linear_post_mag(self.norm_post_mag(magnitude)).transpose(1, 2)
        angle = self.norm_post_pha(angle)
        return amplitude + gain, torch.atan2(self.linear_post_pha_i(angle), self.linear_post_pha_r(angle)).transpose(
            1, 2
        )

    def synthesize(self, amplitude: Tensor, phase: Tensor, samples: int) -> Tensor:
        """Invert `analyze` -> (B, samples)."""
        size = self.sizes
        window = torch.hann_window(size.window, device=amplitude.device)
        spectrum = torch.polar(amplitude.exp(), phase)
        return torch.istft(spectrum, size.n_fft, size.hop, size.window, window, center=True, length=samples)


class ScaledConvNeXtBlock(nn.Module):
    """A depthwise convolution and a wide linear pair, scaled channel by channel, around a residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.pwconv1 = nn.Linear(channels, 3 * channels)
        self.pwconv2 = nn.Linear(3 * channels, channels)
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Apply to (B, T, C) -> (B, T, C)."""
        y = self.norm(self.dwconv(x.transpose(1, 2)).transpose(1, 2))
        change: Tensor = self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + self.gamma * change
