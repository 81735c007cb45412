"""Discriminator: one look at the waveform and one for each period (specification s2-sovits §10)."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.sovits.layers import LEAKY_SLOPE, NormedConv1d, NormedConv2d


class DiscriminatorOutput(NamedTuple):
    """What one sub-discriminator thinks."""

    logits: Tensor
    """(B, N)."""
    features: list[Tensor]
    """After every layer, the last one raw."""


class WaveformDiscriminator(nn.Module):
    def __init__(self, channels: list[int], groups: list[int]) -> None:
        super().__init__()
        last = len(channels) - 1
        inputs = [1, *channels[:-1]]
        self.convs = nn.ModuleList()
        for i, (before, after, group) in enumerate(zip(inputs, channels, groups)):
            size, stride = (15, 1) if i == 0 else (5, 1) if i == last else (41, 4)
            self.convs.append(NormedConv1d(before, after, size, stride=stride, padding=size // 2, groups=group))
        self.conv_post = NormedConv1d(channels[-1], 1, 3, padding=1)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        return _judge(x, self.convs, self.conv_post)


class PeriodDiscriminator(nn.Module):
    """Sees the waveform as an image, `period` samples a row."""

    def __init__(self, period: int, channels: list[int]) -> None:
        super().__init__()
        self.period = period
        self.convs = nn.ModuleList()
        for i, (before, after) in enumerate(zip([1, *channels[:-1]], channels)):
            stride = 1 if i == len(channels) - 1 else 3
            self.convs.append(NormedConv2d(before, after, (5, 1), stride=(stride, 1), padding=(2, 0)))
        self.conv_post = NormedConv2d(channels[-1], 1, (3, 1), stride=(1, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        missing = -x.shape[-1] % self.period
        if missing:
            x = F.pad(x, (0, missing), mode="reflect")
        return _judge(x.unflatten(2, (-1, self.period)), self.convs, self.conv_post)


class Discriminator(nn.Module):
    """All of them; the first reads the waveform, as in the official key order."""

    def __init__(
        self,
        *,
        waveform_channels: list[int],
        waveform_groups: list[int],
        period_channels: list[int],
        periods: list[int],
    ) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList([WaveformDiscriminator(waveform_channels, waveform_groups)])
        self.discriminators.extend(PeriodDiscriminator(period, period_channels) for period in periods)

    def forward(self, x: Tensor) -> list[DiscriminatorOutput]:
        """x (B, 1, N)."""
        return [discriminator(x) for discriminator in self.discriminators]


def _judge(x: Tensor, convs: nn.ModuleList, last: nn.Module) -> DiscriminatorOutput:
    features = []
    for conv in convs:
        x = F.leaky_relu(conv(x), LEAKY_SLOPE)
        features.append(x)
    x = last(x)
    features.append(x)
    return DiscriminatorOutput(x.flatten(1), features)
