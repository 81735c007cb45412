"""Discriminator: one sub-discriminator of the waveform and one for each period (specification s2-sovits §10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.configs.sections import read_section
from GPT_SoVITS.sovits.config import DiscriminatorConfig
from GPT_SoVITS.sovits.layers import LEAKY_SLOPE, NormedConv1d, NormedConv2d


class DiscriminatorOutput(NamedTuple):
    """The output of one sub-discriminator."""

    logits: Tensor
    """(B, N)."""
    features: list[Tensor]
    """After every layer, the last one without activation."""


class WaveformDiscriminator(nn.Module):
    """Sees the waveform through strided, grouped convolutions."""

    def __init__(self, channels: Sequence[int], groups: Sequence[int]) -> None:
        super().__init__()
        last = len(channels) - 1
        inputs = [1, *channels[:-1]]
        self.convs = nn.ModuleList()
        for i, (before, after, group) in enumerate(zip(inputs, channels, groups)):
            size, stride = (15, 1) if i == 0 else (5, 1) if i == last else (41, 4)
            self.convs.append(NormedConv1d(before, after, size, stride=stride, padding=size // 2, groups=group))
        self.conv_post = NormedConv1d(channels[-1], 1, 3, padding=1)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Judge a waveform (B, 1, N)."""
        return _run_layers(x, self.convs, self.conv_post)


class PeriodDiscriminator(nn.Module):
    """Sees the waveform as an image with `period` samples per row."""

    def __init__(self, period: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.period = period
        self.convs = nn.ModuleList()
        for i, (before, after) in enumerate(zip([1, *channels[:-1]], channels)):
            stride = 1 if i == len(channels) - 1 else 3
            self.convs.append(NormedConv2d(before, after, (5, 1), stride=(stride, 1), padding=(2, 0)))
        self.conv_post = NormedConv2d(channels[-1], 1, (3, 1), stride=(1, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Judge a waveform (B, 1, N)."""
        missing = -x.shape[-1] % self.period
        if missing:
            x = F.pad(x, (0, missing), mode="reflect")
        return _run_layers(x.unflatten(2, (-1, self.period)), self.convs, self.conv_post)


class Discriminator(nn.Module):
    """All sub-discriminators; the first reads the waveform, as in the official key order."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList([WaveformDiscriminator(config.waveform_channels, config.waveform_groups)])
        self.discriminators.extend(PeriodDiscriminator(period, config.period_channels) for period in config.periods)

    @classmethod
    def from_config(cls, recipe: Recipe) -> Discriminator:
        """Build from a recipe's `discriminator` section. Raises ModelError("bad_config")."""
        return cls(read_section(DiscriminatorConfig, recipe["discriminator"]))

    def forward(self, x: Tensor) -> list[DiscriminatorOutput]:
        """Judge a waveform (B, 1, N) by every sub-discriminator."""
        return [discriminator(x) for discriminator in self.discriminators]


def _run_layers(x: Tensor, convs: nn.ModuleList, last: nn.Module) -> DiscriminatorOutput:
    features = []
    for conv in convs:
        x = F.leaky_relu(conv(x), LEAKY_SLOPE)
        features.append(x)
    x = last(x)
    features.append(x)
    return DiscriminatorOutput(x.flatten(1), features)
