"""ERes2NetV2, the speaker encoder of v2Pro and v2ProPlus (Chen et al. 2024; specification s2-sovits §21.2).

Attribute names are keys of the official file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.checkpoints.pretrained import assign_weights, in_float32, read_state
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.fbank import BANDS, SAMPLE_RATE, fbank

__all__ = ["SAMPLE_RATE", "ERes2NetV2"]

CLIP = 20.0
"""Activations are held in [0, 20]."""


@dataclass(frozen=True, slots=True)
class ERes2NetV2Sizes:
    """Sizes of the network; the defaults are those of the official file."""

    width: int = 24
    """Channels of a group, per 64 planes of its layer."""
    scale: int = 4
    """Groups of a block."""
    expansion: int = 4
    """Output channels of a block over its planes."""
    channels: int = 64
    """Planes of the first layer; each layer has twice as many as the one before."""
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    """Of each layer."""
    unused_width: int = 192
    """Output of `seg_1`, which is stored and takes no part."""


class ERes2NetV2(nn.Module):
    """A residual network over filter-bank features, whose pooled output tells who speaks."""

    def __init__(self, sizes: ERes2NetV2Sizes | None = None) -> None:
        super().__init__()
        sizes = sizes or ERes2NetV2Sizes()
        channels, expansion = sizes.channels, sizes.expansion
        wide = 8 * channels * expansion
        self.width = wide * BANDS // 8
        """Of the vector: 20480."""
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        layers = []
        for i, count in enumerate(sizes.blocks):
            planes = channels * 2**i
            inputs = channels if i == 0 else planes // 2 * expansion
            blocks = [Res2NetBlock(sizes, inputs, planes, stride=1 if i == 0 else 2, fused=i >= 2)]
            blocks += [
                Res2NetBlock(sizes, planes * expansion, planes, stride=1, fused=i >= 2) for _ in range(count - 1)
            ]
            layers.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.layer3_ds = nn.Conv2d(wide // 2, wide, 3, stride=2, padding=1, bias=False)
        self.fuse34 = AttentionFusion(wide)
        self.seg_1 = nn.Linear(2 * self.width, sizes.unused_width)

    @classmethod
    def load(cls, path: Path, *, device: torch.device | str = "cpu") -> ERes2NetV2:
        """Load the official file, a bare state dict; the sizes are those of its tensors.

        Raises:
            ModelError: "missing_part" or "bad_checkpoint".
        """
        state = read_state(path)
        with torch.device("meta"):
            model = cls(sizes_of(state, path))
        assign_weights(model, in_float32(state), source=str(path))
        return model.to(device)

    def forward(self, features: Tensor) -> Tensor:
        """Encode features (B, frames, 80) of `fbank` -> (B, 20480): the fused map's mean over time, by channel."""
        x = features.transpose(1, 2)[:, None]  # (B, 1, 80, frames)
        x = F.relu(self.bn1(self.conv1(x)))
        third = self.layer3(self.layer2(self.layer1(x)))  # (B, 4m·e, 20, frames / 4)
        fused = self.fuse34(self.layer4(third), self.layer3_ds(third))  # (B, 8m·e, 10, frames / 8)
        pooled: Tensor = fused.flatten(1, 2).mean(dim=2)
        return pooled

    @torch.inference_mode()
    def vector_of(self, samples: np.ndarray | Tensor) -> Tensor:
        """Encode (N,) samples in [-1, 1] at 16 kHz -> (1, 20480) float32 on the model's device."""
        wave = torch.as_tensor(samples, dtype=torch.float32).reshape(1, -1)
        vector: Tensor = self(fbank(wave.to(self.conv1.weight.device)))
        return vector


class Res2NetBlock(nn.Module):
    """A residual block whose channels go through in groups, each reading the output of the one before it."""

    def __init__(self, sizes: ERes2NetV2Sizes, inputs: int, planes: int, *, stride: int, fused: bool) -> None:
        super().__init__()
        scale, group, outputs = sizes.scale, planes * sizes.width // 64, planes * sizes.expansion
        self.conv1 = nn.Conv2d(inputs, group * scale, 1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(group * scale)
        self.convs = nn.ModuleList([nn.Conv2d(group, group, 3, padding=1, bias=False) for _ in range(scale)])
        self.bns = nn.ModuleList([nn.BatchNorm2d(group) for _ in range(scale)])
        if fused:
            self.fuse_models = nn.ModuleList([AttentionFusion(group) for _ in range(scale - 1)])
        self.fused = fused
        self.conv3 = nn.Conv2d(group * scale, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else nn.Sequential()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply to x (B, C, F, T) -> (B, planes·e, F / stride, T / stride)."""
        groups = _clipped(self.bn1(self.conv1(x))).chunk(len(self.convs), dim=1)
        outputs: list[Tensor] = []
        for i, group in enumerate(groups):
            if i > 0:
                group = self.fuse_models[i - 1](outputs[-1], group) if self.fused else outputs[-1] + group
            outputs.append(_clipped(self.bns[i](self.convs[i](group))))
        return _clipped(self.bn3(self.conv3(torch.cat(outputs, dim=1))) + self.shortcut(x))


class AttentionFusion(nn.Module):
    """Two maps mixed by a local attention weight that both decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 4
        self.local_att = nn.Sequential(
            nn.Conv2d(2 * channels, inner, 1),
            nn.BatchNorm2d(inner),
            nn.SiLU(),
            nn.Conv2d(inner, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fuse x, y (B, C, F, T) -> (B, C, F, T)."""
        balance = torch.tanh(self.local_att(torch.cat([x, y], dim=1)))
        return x * (1 + balance) + y * (1 - balance)


def sizes_of(state: dict[str, Tensor], path: Path | str = "The file") -> ERes2NetV2Sizes:
    """Read the sizes of the network from its weights. Raises ModelError("bad_checkpoint") for other weights."""
    try:
        channels = state["conv1.weight"].shape[0]
        grouped, group = state["layer4.0.conv1.weight"].shape[0], state["layer4.0.convs.0.weight"].shape[0]
        return ERes2NetV2Sizes(
            # A group has floor(planes·width / 64) channels; the widest layer, 8·channels, tells the width exactly.
            width=-(-group * 64 // (8 * channels)),
            scale=grouped // group,
            expansion=state["layer1.0.conv3.weight"].shape[0] // channels,
            channels=channels,
            blocks=tuple(
                1 + max(int(name.split(".")[1]) for name in state if name.startswith(f"layer{i}.")) for i in range(1, 5)
            ),
            unused_width=state["seg_1.weight"].shape[0],
        )
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError("bad_checkpoint", f"{path} does not hold ERes2NetV2's weights: {error}.") from error


def _clipped(x: Tensor) -> Tensor:
    return F.hardtanh(x, 0.0, CLIP)
