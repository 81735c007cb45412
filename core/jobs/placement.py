"""Where workers are and how many jobs the settings let them run at once there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.jobs.job import WorkerLocation
from core.jobs.roles import SYNTHESIZER, TRAINER
from core.settings import Settings

KINDS: Final[dict[str, str]] = {TRAINER: "training", SYNTHESIZER: "inference"}
"""Role → the kind of its jobs, for roles whose jobs are limited."""

TRAINING_MB: Final = 8192
"""VRAM that one training is given, MiB, when anything else is placed on its GPU by memory."""
GPU_SLOTS: Final = 32
MIN_CPU_SLOTS: Final = 8
SLOTS_PER_CORE: Final = 4
"""Of a synthesizer, unless SYNTHESIS_SLOTS says otherwise."""


@dataclass(frozen=True, slots=True)
class TrainingResources:
    """The batch size and the cores of a training."""

    batch_size: int
    threads: int
    note: str = ""
    """Which parameter was capped, if one was."""


def locate_worker(settings: Settings, role: str, host: str, device: str, *, dedicated: bool = False) -> WorkerLocation:
    """Return the location of a worker of the role, for its claims."""
    kind = KINDS.get(role, "")
    limit = default_limit(settings, device, kind) if kind else 0
    return WorkerLocation(host, device, kind, limit, dedicated)


def slots_of(settings: Settings, role: str, device: str, cores: int) -> int:
    """Return how many jobs a worker process of the role runs at once."""
    if role != SYNTHESIZER:
        return 1
    if settings.synthesis_slots:
        return settings.synthesis_slots
    if device.startswith("cuda"):
        return GPU_SLOTS
    return max(MIN_CPU_SLOTS, min(GPU_SLOTS, SLOTS_PER_CORE * cores))


def default_limit(settings: Settings, device: str, kind: str) -> int:
    """Return the limit that the settings give each GPU, or the CPU of each host."""
    if device.startswith("cuda"):
        return settings.max_training_concurrent_gpu if kind == "training" else settings.max_inference_concurrent_gpu
    return settings.max_training_concurrent_cpu if kind == "training" else settings.max_inference_concurrent_cpu


def cap_cpu_training(settings: Settings, cores: int, batch_size: int) -> TrainingResources:
    """Return what a training on a CPU gets: it leaves room for speech, whatever its parameters say."""
    maximum = settings.cpu_training_max_batch_size
    return TrainingResources(
        batch_size=min(batch_size, maximum),
        threads=max(1, int(cores * settings.cpu_training_pytorch_threads_ratio)),
        note=f"batch_size {maximum}: {batch_size} is above CPU_TRAINING_MAX_BATCH_SIZE."
        if batch_size > maximum
        else "",
    )
