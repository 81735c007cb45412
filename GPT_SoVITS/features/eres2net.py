"""Who speaks, for v2Pro and v2ProPlus: ERes2NetV2 (Chen et al. 2024; specification s2-sovits §21.2).

Attribute names are keys of the official file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.fbank import BANDS, SAMPLE_RATE, fbank
from GPT_SoVITS.features.pretrained import fill, read_state

__all__ = ["SAMPLE_RATE", "ERes2NetV2"]

CLIP = 20.0
"""Activations are held in [0, 20]."""


class ERes2NetV2(nn.Module):
    """The sizes of the official file are the defaults."""

    def __init__(
        self,
        *,
        width: int = 24,
        scale: int = 4,
        expansion: int = 4,
        channels: int = 64,
        blocks: Sequence[int] = (3, 4, 6, 3),
        unused_width: int = 192,
    ) -> None:
        """`channels` is m, `unused_width` the output of `seg_1`, which is stored and takes no part."""
        super().__init__()
        wide = 8 * channels * expansion
        self.width = wide * BANDS // 8
        """Of the vector: 20480."""
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _layer(
                inputs=channels if i == 0 else channels * 2 ** (i - 1) * expansion,
                planes=channels * 2**i,
                count=count,
                stride=1 if i == 0 else 2,
                width=width,
                scale=scale,
                expansion=expansion,
                fused=i >= 2,
            )
            for i, count in enumerate(blocks)
        )
        self.layer3_ds = nn.Conv2d(wide // 2, wide, 3, stride=2, padding=1, bias=False)
        self.fuse34 = Fusion(wide)
        self.seg_1 = nn.Linear(2 * self.width, unused_width)

    @classmethod
    def load(cls, path: Path, *, device: torch.device | str = "cpu") -> ERes2NetV2:
        """From the official file, a bare state dict, strictly; the sizes are those of its tensors.

        Raises ModelError "missing_part" or "bad_checkpoint".
        """
        state = read_state(path)
        with torch.device("meta"):
            model = cls(**sizes_of(state, path))
        fill(model, state, path)
        return model.to(device)

    def forward(self, features: Tensor) -> Tensor:
        """features (B, frames, 80) of `fbank` -> (B, 20480): the fused map's mean over time, channel by channel."""
        x = features.transpose(1, 2)[:, None]  # (B, 1, 80, frames)
        x = F.relu(self.bn1(self.conv1(x)))
        third = self.layer3(self.layer2(self.layer1(x)))  # (B, 4m·e, 20, frames / 4)
        fused = self.fuse34(self.layer4(third), self.layer3_ds(third))  # (B, 8m·e, 10, frames / 8)
        return fused.flatten(1, 2).mean(dim=2)

    @torch.inference_mode()
    def vector_of(self, samples: np.ndarray | Tensor) -> Tensor:
        """(N,) float in [-1, 1] at 16 kHz -> (1, 20480) float32 on the model's device."""
        wave = torch.as_tensor(samples, dtype=torch.float32).reshape(1, -1)
        return self(fbank(wave.to(self.conv1.weight.device)))


class Block(nn.Module):
    """A residual block whose channels go through in groups, each hearing what the one before it made."""

    def __init__(
        self, inputs: int, planes: int, *, stride: int, width: int, scale: int, expansion: int, fused: bool
    ) -> None:
        super().__init__()
        group, outputs = planes * width // 64, planes * expansion
        self.conv1 = nn.Conv2d(inputs, group * scale, 1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(group * scale)
        self.convs = nn.ModuleList([nn.Conv2d(group, group, 3, padding=1, bias=False) for _ in range(scale)])
        self.bns = nn.ModuleList([nn.BatchNorm2d(group) for _ in range(scale)])
        if fused:
            self.fuse_models = nn.ModuleList([Fusion(group) for _ in range(scale - 1)])
        self.fused = fused
        self.conv3 = nn.Conv2d(group * scale, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else nn.Sequential()
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, F, T) -> (B, planes·e, F / stride, T / stride)."""
        groups = _clipped(self.bn1(self.conv1(x))).chunk(len(self.convs), dim=1)
        made: list[Tensor] = []
        for i, group in enumerate(groups):
            if i > 0:
                group = self.fuse_models[i - 1](made[-1], group) if self.fused else made[-1] + group
            made.append(_clipped(self.bns[i](self.convs[i](group))))
        return _clipped(self.bn3(self.conv3(torch.cat(made, dim=1))) + self.shortcut(x))


class Fusion(nn.Module):
    """Two maps mixed by a weight that both decide, place by place."""

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
        """x, y (B, C, F, T) -> (B, C, F, T)."""
        balance = torch.tanh(self.local_att(torch.cat([x, y], dim=1)))
        return x * (1 + balance) + y * (1 - balance)


def sizes_of(state: dict[str, Tensor], path: Path | str = "The file") -> dict[str, object]:
    """The arguments of the network whose weights these are. Raises ModelError "bad_checkpoint" for other weights."""
    try:
        channels = state["conv1.weight"].shape[0]
        grouped, group = state["layer4.0.conv1.weight"].shape[0], state["layer4.0.convs.0.weight"].shape[0]
        return {
            # A group has floor(planes·width / 64) channels; the widest layer, 8·channels, tells the width exactly.
            "width": -(-group * 64 // (8 * channels)),
            "scale": grouped // group,
            "expansion": state["layer1.0.conv3.weight"].shape[0] // channels,
            "channels": channels,
            "blocks": [
                1 + max(int(name.split(".")[1]) for name in state if name.startswith(f"layer{i}.")) for i in range(1, 5)
            ],
            "unused_width": state["seg_1.weight"].shape[0],
        }
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError("bad_checkpoint", f"{path} does not hold ERes2NetV2's weights: {error}.") from error


def _layer(*, inputs: int, planes: int, count: int, stride: int, expansion: int, **sizes: int | bool) -> nn.Sequential:
    blocks = [Block(inputs, planes, stride=stride, expansion=expansion, **sizes)]
    blocks += [Block(planes * expansion, planes, stride=1, expansion=expansion, **sizes) for _ in range(count - 1)]
    return nn.Sequential(*blocks)


def _clipped(x: Tensor) -> Tensor:
    return F.hardtanh(x, 0.0, CLIP)
