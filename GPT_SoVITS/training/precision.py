"""The arithmetic of a training, and the loss scaling that float16 needs."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from GPT_SoVITS.device_precision import device_precision

ROWS = 1024
"""Positions in the timing trial, as a small batch has."""
ROUNDS = 5
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FIRST_SCALE = 2.0**10
"""Below torch's own, at which a gradient of one overflows: a fine-tune is too short to skip its first updates."""


class Precision:
    """Mixed precision: fp32, bf16 or fp16 in the networks, float32 in weights and optimizers.

    With fp16, losses are scaled before `backward`, and an update whose gradients overflowed is skipped.
    """

    def __init__(
        self, name: str, device: torch.device, *, first_scale: float = FIRST_SCALE, required: bool = False
    ) -> None:
        """Use the precision of this name.

        Args:
            name: `fp32`, `bf16` or `fp16`.
            device: where the networks are.
            first_scale: losses that are sums over thousands of terms need a smaller one.
            required: whether the precision was asked for, so that a resumed training does not keep another.
        """
        self.device = device
        self.required = required
        self.first_scale = first_scale
        self._set(name)

    def autocast(self) -> torch.autocast:
        """Return the context in which the networks run forward."""
        reduced = self.name != "fp32"
        return torch.autocast(self.device.type, DTYPES[self.name] if reduced else torch.bfloat16, enabled=reduced)

    def backward(self, loss: Tensor) -> None:
        """Add the scaled gradients of a loss."""
        self.scaler.scale(loss).backward()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Undo the scaling of the gradients, once before each `step`."""
        self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update the weights, unless a gradient overflowed."""
        self.scaler.step(optimizer)

    def update(self) -> None:
        """Adapt the scale, once after the last optimizer's `step`."""
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the name and the scaler's state."""
        return {"name": self.name, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved precision, whatever this machine would choose today; a required one stays."""
        if not self.required:
            self._set(state["name"])
        if state["name"] == self.name:
            self.scaler.load_state_dict(state["scaler"])

    def _set(self, name: str) -> None:
        self.name = name
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=name == "fp16", init_scale=self.first_scale)


def choose_precision(setting: str, device: torch.device, width: int) -> str:
    """Return the precision of a setting; `auto` takes the fastest for layers of this width (specification s1-gpt §13).

    That is `bf16` where the device computes in it and is faster so, `fp16` on a GPU that is too old for bf16 and has
    the units for it, and `fp32` otherwise.
    """
    if setting != "auto":
        return setting
    if device.type != "cpu":
        return device_precision(device)
    # Other CPUs convert bfloat16, and lose by it.
    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return "fp32"
    return "bf16" if _seconds(width, torch.bfloat16) < 0.8 * _seconds(width, torch.float32) else "fp32"


def _seconds(width: int, dtype: torch.dtype) -> float:
    """Measure the shortest time of one feed-forward product, conversion included as autocast does it."""
    x, weight = torch.randn(ROWS, width), torch.randn(4 * width, width)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        torch.nn.functional.linear(x.to(dtype), weight.to(dtype))
        times.append(time.perf_counter() - start)
    return min(times)
