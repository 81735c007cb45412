"""Which arithmetic a training uses, and the loss scaling that float16 needs."""

from __future__ import annotations

import time
from typing import Any

import torch

ROWS = 1024
"""Positions in the trial, as a small batch has."""
ROUNDS = 5
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FIRST_SCALE = 2.0**10
"""Below torch's own, at which a gradient of one overflows: a fine-tune is too short to leave its first updates out."""


class Precision:
    """fp32, bf16 or fp16: under which the networks run, and how gradients are made of it.

    Weights and optimisers stay in float32. Of fp16, losses are scaled before `backward`, and an update whose
    gradients overflowed is left out.
    """

    def __init__(self, name: str, device: torch.device, *, first_scale: float = FIRST_SCALE) -> None:
        """`first_scale` is for losses that are means; a sum over thousands of terms wants a smaller one."""
        self.device = device
        self.first_scale = first_scale
        self._become(name)

    def autocast(self) -> torch.autocast:
        """The networks' forward runs inside."""
        coarse = self.name != "fp32"
        return torch.autocast(self.device.type, DTYPES[self.name] if coarse else torch.bfloat16, enabled=coarse)

    def backward(self, loss: torch.Tensor) -> None:
        self.scaler.scale(loss).backward()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Make the gradients what they would be without scaling; once before each `step`."""
        self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update, unless a gradient overflowed."""
        self.scaler.step(optimizer)

    def update(self) -> None:
        """Adapt the scale, once after the last optimiser's `step`."""
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        return {"name": self.name, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as saved, whatever this machine would choose today."""
        self._become(state["name"])
        self.scaler.load_state_dict(state["scaler"])

    def _become(self, name: str) -> None:
        self.name = name
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=name == "fp16", init_scale=self.first_scale)


def choose_precision(asked: str, device: torch.device, width: int) -> str:
    """`fp32`, or `bf16` where the device computes in it and it is faster for layers of this width; on a GPU that is
    too old for it, `fp16` where it has the units for that (specification s1-gpt §13)."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16"
        return "fp16" if _computes_float16(device) else "fp32"
    if not computes_bfloat16():
        return "fp32"
    return "bf16" if _seconds(width, torch.bfloat16) < 0.8 * _seconds(width, torch.float32) else "fp32"


def computes_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; others convert, and lose by it."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _computes_float16(device: torch.device) -> bool:
    """From capability 6.2 on; the GTX 16 series claims 7.5 and returns NaN."""
    return torch.cuda.get_device_capability(device) > (6, 1) and "GTX 16" not in torch.cuda.get_device_name(device)


def _seconds(width: int, dtype: torch.dtype) -> float:
    """The shortest time of one feed-forward product, conversion included as autocast does it."""
    x, weight = torch.randn(ROWS, width), torch.randn(4 * width, width)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        torch.nn.functional.linear(x.to(dtype), weight.to(dtype))
        times.append(time.perf_counter() - start)
    return min(times)
