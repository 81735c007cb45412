"""Where workers are and what the settings let them run at once: what a worker needs to know of limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.jobs.job import Place
from core.jobs.roles import SYNTHESIZER, TRAINER
from core.settings import Settings

KINDS: Final[dict[str, str]] = {TRAINER: "training", SYNTHESIZER: "inference"}
"""Role → kind of work that limits count."""


@dataclass(frozen=True, slots=True)
class TrainingMeans:
    """What a training has to work with."""

    batch_size: int
    threads: int
    note: str = ""
    """What it was cut to, when it was."""


def place_of(settings: Settings, role: str, host: str, device: str, *, only_asked: bool = False) -> Place:
    """Where a worker of the role is, for its claims."""
    kind = KINDS.get(role, "")
    limit = default_limit(settings, device, kind) if kind else 0
    return Place(host, device, kind, limit, only_asked)


def default_limit(settings: Settings, device: str, kind: str) -> int:
    """By the settings: for each GPU, or for the CPU of a host."""
    if device.startswith("cuda"):
        return settings.max_training_concurrent_gpu if kind == "training" else settings.max_inference_concurrent_gpu
    return settings.max_training_concurrent_cpu if kind == "training" else settings.max_inference_concurrent_cpu


def cap_cpu_training(settings: Settings, cores: int, batch_size: int) -> TrainingMeans:
    """A training on a CPU leaves room for speech, whatever was asked for."""
    most = settings.cpu_training_max_batch_size
    return TrainingMeans(
        batch_size=min(batch_size, most),
        threads=max(1, int(cores * settings.cpu_training_pytorch_threads_ratio)),
        note=f"batch_size {most}: {batch_size} is above CPU_TRAINING_MAX_BATCH_SIZE." if batch_size > most else "",
    )
