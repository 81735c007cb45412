"""A GPU, whoever made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GpuKind = Literal["cuda", "rocm", "mps"]
"""NVIDIA's, AMD's (torch calls these `cuda`, too), and Apple's."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as its driver numbers it."""

    index: int
    uuid: str
    """What CUDA_VISIBLE_DEVICES takes, or ROCR_VISIBLE_DEVICES; it stays the same when the driver numbers anew."""
    name: str
    total_mb: int
    free_mb: int
    """VRAM nobody uses now, MiB."""
    compute_capability: str = ""
    """Such as 8.6."""
    utilization: float = 0.0
    """Per cent of the last moments in which it computed."""
    instance: int | None = None
    """The number of a MIG instance, a part of a GPU that programs see as a GPU of its own; None for a whole one."""
    kind: GpuKind = "cuda"

    @property
    def label(self) -> str:
        """The name that people read: `0`, or `0.1` for a MIG instance."""
        return str(self.index) if self.instance is None else f"{self.index}.{self.instance}"

    @property
    def device(self) -> str:
        """What a worker that runs on it is started with."""
        return "mps" if self.kind == "mps" else f"{self.kind}:{self.uuid}"

    @property
    def name_for_jobs(self) -> str:
        """What device constraints of jobs call it."""
        return "mps" if self.kind == "mps" else f"cuda:{self.index}"

    @property
    def trains(self) -> bool:
        """Whether models are trained and recordings prepared on it; Apple's only speak."""
        return self.kind != "mps"
