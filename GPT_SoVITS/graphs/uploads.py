"""Numbers of the host that work on static memory reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def upload(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers on a device; where memory can be pinned, without waiting for it."""
    tensor = torch.tensor(values, dtype=dtype)
    pinned = device.type == "cuda" and torch.cuda.is_available()
    return (tensor.pin_memory() if pinned else tensor).to(device, non_blocking=True)
