"""What a training leaves free for the evaluation of its checkpoints."""

from __future__ import annotations

import logging
from typing import Final

from core.errors import QueueUnavailable
from core.jobs.placement import TRAINING_MB
from core.limits import LimitService
from core.memory import available_memory_mb
from roles.stages.stage_run import StageRun

logger = logging.getLogger(__name__)

EVALUATION_MB: Final = 3072
"""Memory that an evaluation may take, MiB: the voice, and on a CPU also what judges it."""


def spare_threads(run: StageRun, training_threads: int) -> int:
    """Return the cores on which checkpoints can be evaluated beside the training; 0 when they have to wait for its end.

    On a CPU they are those of the worker that the training does not use; on a GPU its memory has to suffice for both.
    """
    services = run.services
    if services.device == "cpu":
        return services.threads - training_threads if available_memory_mb() >= EVALUATION_MB else 0
    if services.device != "cuda" or _free_gpu_mb(run) < TRAINING_MB + EVALUATION_MB:
        return 0
    return services.threads


def _free_gpu_mb(run: StageRun) -> int:
    """Return the free memory of the worker's GPU, as its supervisor last saw it; 0 when it says nothing."""
    services = run.services
    limits = LimitService(services.settings, services.records, services.async_queue)
    try:
        hosts = services.call(limits.hosts)
    except QueueUnavailable:
        return 0
    gpus = (gpu for host in hosts if host.host == services.host for gpu in host.gpus)
    return next((gpu.free_mb for gpu in gpus if gpu.device == services.device_name), 0)
