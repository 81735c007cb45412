"""Sizes of a vocoder that upsamples in stages, read from a configuration or from its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from GPT_SoVITS.errors import ModelError

DILATIONS = (1, 3, 5)
"""Of every residual block of both official vocoders; a state dict does not show them."""
OUTER_REACH = 3
"""Frames or samples that the first and the last convolution (kernel 7) read on each side."""


@dataclass(frozen=True, slots=True)
class VocoderSizes:
    """What HiFi-GAN and BigVGAN have in common."""

    mels: int
    """Bands of the log-mel."""
    width: int
    """Channels before the first stage; every stage halves them."""
    rates: tuple[int, ...]
    """How many samples each stage makes of one."""
    kernels: tuple[int, ...]
    """Of the transposed convolution of each stage."""
    block_kernels: tuple[int, ...]
    """Of the residual blocks that stand side by side in each stage."""
    block_dilations: tuple[tuple[int, ...], ...]
    final_bias: bool = True
    final_tanh: bool = True

    @property
    def hop(self) -> int:
        """Samples that one frame becomes."""
        return math.prod(self.rates)

    def context(self, activation_reach: int) -> int:
        """Count the frames on each side of a frame that can change its samples.

        `activation_reach` is the samples that an activation reads on each side. With so many more frames at both ends
        an excerpt sounds as it does in the whole.
        """
        blocks = max(
            sum((size - 1) // 2 * (dilation + 1) + 2 * activation_reach for dilation in dilations)
            for size, dilations in zip(self.block_kernels, self.block_dilations)
        )
        reach, samples = float(OUTER_REACH), 1
        for rate, kernel in zip(self.rates, self.kernels):
            reach += (kernel / (2 * rate) + 1) / samples
            samples *= rate
            reach += blocks / samples
        return math.ceil(reach + (activation_reach + OUTER_REACH) / samples)


def sizes_from_config(config: Mapping[str, Any], *, file: str) -> VocoderSizes:
    """Read and check a vocoder's configuration, named `file` in errors. Raises ModelError("bad_vocoder")."""
    try:
        sizes = VocoderSizes(
            mels=int(config.get("num_mels", config.get("initial_channel", 100))),
            width=int(config["upsample_initial_channel"]),
            rates=tuple(map(int, config["upsample_rates"])),
            kernels=tuple(map(int, config["upsample_kernel_sizes"])),
            block_kernels=tuple(map(int, config["resblock_kernel_sizes"])),
            block_dilations=tuple(tuple(map(int, row)) for row in config["resblock_dilation_sizes"]),
            final_bias=bool(config.get("use_bias_at_final", config.get("is_bias", True))),
            final_tanh=bool(config.get("use_tanh_at_final", True)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("bad_vocoder", f"{file} does not describe a vocoder: {error!r}.") from error
    _check(sizes, str(config.get("resblock", "1")), file)
    return sizes


def sizes_from_state(state: Mapping[str, Tensor], *, file: str) -> VocoderSizes:
    """Read the sizes of folded weights, with every kernel twice its rate and the official dilations.

    Raises:
        ModelError: "bad_vocoder" when these are no such weights.
    """
    try:
        stages = _count(state, "ups.{}.weight")
        branches = _count(state, "resblocks.{}.convs1.0.weight") // stages
        kernels = tuple(state[f"ups.{i}.weight"].shape[2] for i in range(stages))
        return VocoderSizes(
            mels=state["conv_pre.weight"].shape[1],
            width=state["conv_pre.weight"].shape[0],
            rates=tuple(kernel // 2 for kernel in kernels),
            kernels=kernels,
            block_kernels=tuple(state[f"resblocks.{j}.convs1.0.weight"].shape[2] for j in range(branches)),
            block_dilations=(DILATIONS,) * branches,
            final_bias="conv_post.bias" in state,
        )
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise ModelError("bad_vocoder", f"{file} holds no vocoder: {error!r} is not among its weights.") from error


def fold(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace every pair `weight_g`, `weight_v` by the kernel g * v / ||v|| that it stands for, in float32.

    Weights without weight norm stay.
    """
    folded = {}
    for name, tensor in state.items():
        if name.endswith(".weight_g"):
            layer = name.removesuffix("_g")
            folded[layer] = torch._weight_norm(state[f"{layer}_v"].float(), tensor.float(), 0)
        elif not name.endswith(".weight_v"):
            folded[name] = tensor.float()
    return folded


def _check(sizes: VocoderSizes, block: str, file: str) -> None:
    wrong = ""
    if block != "1":
        wrong = f'has residual blocks of type "{block}"; only "1" is known'
    elif not sizes.rates or not sizes.block_kernels:
        wrong = "has no stage or no residual block"
    elif len(sizes.rates) != len(sizes.kernels):
        wrong = f"has {len(sizes.rates)} rates and {len(sizes.kernels)} kernels"
    elif len(sizes.block_kernels) != len(sizes.block_dilations):
        wrong = f"has {len(sizes.block_kernels)} block kernels and {len(sizes.block_dilations)} rows of dilations"
    elif min((*sizes.rates, *sizes.kernels, *sizes.block_kernels, sizes.mels)) < 1:
        wrong = "has a size below 1"
    elif any((kernel - rate) % 2 or kernel < rate for rate, kernel in zip(sizes.rates, sizes.kernels)):
        wrong = "has a kernel that is shorter than its rate or differs from it by an odd number"
    elif sizes.width % 2 ** len(sizes.rates):
        wrong = f"halves {sizes.width} channels {len(sizes.rates)} times, which does not come out even"
    if wrong:
        raise ModelError("bad_vocoder", f"{file} {wrong}.")


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    count = 0
    while pattern.format(count) in state:
        count += 1
    return count
