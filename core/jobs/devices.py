"""Device constraints of jobs (`cpu`, `cuda`, `cuda:N`, `cuda:N-M`), and the devices that workers have."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

from core.errors import InvalidParameter, InvalidRequest
from core.jobs.job import WorkerInfo
from core.jobs.roles import TRAINER

ANY: Final = ""
ANYWHERE: Final = "any"
"""Meets every device, as ANY does, but counts towards its limit of inferences."""
DEFAULT_GPU_NUMBERS: Final = "0"
"""Of experiments whose owner chose none: it binds no training to the first GPU."""
_DEVICE: Final = re.compile(r"cpu|cuda|cuda:(0|[1-9]\d?)")


def parse_device(text: str | None) -> str:
    """Return a constraint of one device: `cpu`, `cuda` (any GPU), `cuda:N`, or ANY for `auto` and nothing.

    InvalidParameter for anything else.
    """
    name = (text or "").strip().lower()
    if name in ("", "auto"):
        return ANY
    if not _DEVICE.fullmatch(name):
        raise InvalidParameter(
            f"device is {text!r}",
            hint="cuda (the least loaded GPU), cuda:N (the GPU of that number), cpu or auto work.",
            details={"parameters": ["device"]},
        )
    return name


def meets_constraint(device: str, constraint: str) -> bool:
    """Return whether a job with the constraint may run on the device (core/jobs/lua/claim.lua decides alike)."""
    kind, _, numbers = constraint.partition(":")
    if kind == "cpu" or not device.startswith("cuda:"):
        return constraint in (ANY, ANYWHERE, device)
    return not numbers or device.removeprefix("cuda:") in numbers.split("-")


def worker_devices(workers: Iterable[WorkerInfo], role: str = TRAINER) -> set[str]:
    """Return the devices on which a role's workers run, on all hosts."""
    return {worker.device for worker in workers if worker.role == role}


def check_constraint(constraint: str, devices: Collection[str]) -> None:
    """Raise InvalidRequest when no host has a device that meets it; without any worker, nobody can say."""
    if not constraint or not devices or any(meets_constraint(device, constraint) for device in devices):
        return
    missing = {"cpu": "trains on a CPU", "cuda": "has a GPU"}.get(constraint, f"has the GPU {constraint}")
    raise InvalidRequest(
        f"No host {missing}.",
        hint=f"There are: {', '.join(sorted(devices))}. Leave device out to take what is free.",
        details={"devices": sorted(devices)},
    )


def split_gpu_numbers(gpu_numbers: str) -> list[int]:
    """Return the numbers of GPUs in `0-1-2` or `0,1,2`, in their order."""
    return [int(number) for number in re.findall(r"\d+", gpu_numbers)]


def constrained_gpus(constraint: str) -> list[int]:
    """Return the numbers of the GPUs that a constraint names; none of `cuda`, `cpu` and others."""
    kind, _, numbers = constraint.partition(":")
    return split_gpu_numbers(numbers) if kind == "cuda" else []


def prefer_gpus(gpu_numbers: str, devices: Collection[str]) -> str:
    """Return those of the GPUs `0-1-2` that exist as a constraint; none of them, or the default: ANY.

    Old clients send these numbers to any server, one without a GPU included; so they are a preference.
    """
    if gpu_numbers == DEFAULT_GPU_NUMBERS:
        return ANY
    present = [str(number) for number in split_gpu_numbers(gpu_numbers) if f"cuda:{number}" in devices]
    return f"cuda:{'-'.join(present)}" if present else ANY
