"""Which arithmetic a training uses."""

from __future__ import annotations

import time

import torch

ROWS = 1024
"""Positions in the trial, as a small batch has."""
ROUNDS = 5


def choose(asked: str, device: torch.device, width: int) -> str:
    """`fp32`, or `bf16` where the device computes in it and it is faster for layers of this width."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if not computes_bfloat16():
        return "fp32"
    return "bf16" if _seconds(width, torch.bfloat16) < 0.8 * _seconds(width, torch.float32) else "fp32"


def computes_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; others convert, and lose by it."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _seconds(width: int, dtype: torch.dtype) -> float:
    """The shortest time of one feed-forward product, conversion included as autocast does it."""
    x, weight = torch.randn(ROWS, width), torch.randn(4 * width, width)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        torch.nn.functional.linear(x.to(dtype), weight.to(dtype))
        times.append(time.perf_counter() - start)
    return min(times)
