"""The arithmetic that suits a device, for speech and for training alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

PrecisionName = Literal["fp32", "fp16", "bf16"]

FIRST_WITH_BF16 = (8, 0)
FIRST_WITH_FAST_HALF = (7, 0)
OLDER_WITH_FAST_HALF = ((5, 3), (6, 0), (6, 2))
"""Jetson boards and the P100; the other Pascal cards compute in float16 at a sixty-fourth of the speed."""
WITHOUT_HALF = "GTX 16"
"""This series claims 7.5 and returns NaN."""


@dataclass(frozen=True, slots=True)
class GpuTraits:
    """What decides a GPU's precision."""

    capability: tuple[int, int]
    name: str
    rocm: bool = False
    """Whether it is AMD's, whose capability is the number of an architecture."""
    bf16: bool = False
    """Whether AMD's driver says that it computes in bfloat16."""


def device_precision(device: torch.device | str) -> PrecisionName:
    """Return the fastest precision that a device is good at; float32 on everything but a GPU."""
    device = torch.device(device)
    if device.type != "cuda":
        return "fp32"
    return gpu_precision(
        GpuTraits(
            torch.cuda.get_device_capability(device),
            torch.cuda.get_device_name(device),
            torch.version.hip is not None,
            torch.cuda.is_bf16_supported(including_emulation=False),
        )
    )


def gpu_precision(gpu: GpuTraits) -> PrecisionName:
    """Return bf16 from capability 8.0 on, fp16 on older cards that have the units for it, fp32 on all others."""
    if gpu.rocm:
        return "bf16" if gpu.bf16 else "fp16"
    if gpu.capability >= FIRST_WITH_BF16:
        return "bf16"
    fast = gpu.capability >= FIRST_WITH_FAST_HALF or gpu.capability in OLDER_WITH_FAST_HALF
    return "fp16" if fast and WITHOUT_HALF not in gpu.name else "fp32"
