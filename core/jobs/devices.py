"""The names of devices: what people ask for, and what workers offer."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

from core.errors import InvalidParameter, InvalidRequest
from core.jobs.queue_commands import WorkerInfo
from core.jobs.roles import TRAINER

ANY: Final = ""
DEFAULT_GPU_NUMBERS: Final = "0"
"""Of experiments whose owner chose none: it binds no training to the first GPU."""
_DEVICE: Final = re.compile(r"cpu|cuda|cuda:(0|[1-9]\d?)")


def parse_device(text: str | None) -> str:
    """`cpu`, `cuda` (any GPU), `cuda:N`, or nothing where anything is meant; InvalidParameter otherwise."""
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


def fits(wish: str, device: str) -> bool:
    """Whether a job that asks for a device may run on this one (core/jobs/lua/claim.lua decides alike)."""
    kind, _, numbers = wish.partition(":")
    if kind == "cpu" or not device.startswith("cuda:"):
        return wish in (ANY, device)
    return not numbers or device.removeprefix("cuda:") in numbers.split("-")


def offered(workers: Iterable[WorkerInfo], role: str = TRAINER) -> set[str]:
    """The devices on which a role's workers run, on all hosts."""
    return {worker.device for worker in workers if worker.role == role}


def check_offered(wish: str, devices: Collection[str]) -> None:
    """InvalidRequest when no host has the device; where no worker is up yet, nobody can say."""
    if not wish or not devices or any(fits(wish, device) for device in devices):
        return
    asked = {"cpu": "trains on a CPU", "cuda": "has a GPU"}.get(wish, f"has the GPU {wish}")
    raise InvalidRequest(
        f"No host {asked}.",
        hint=f"There are: {', '.join(sorted(devices))}. Leave device out to take what is free.",
        details={"devices": sorted(devices)},
    )


def preferred(gpu_numbers: str, devices: Collection[str]) -> str:
    """Which of the GPUs of `0-1-2` there are, as a wish; none of them, or the default: anywhere.

    These numbers are sent by old clients to any server, one without a GPU included; so they wish and do not insist.
    """
    if gpu_numbers == DEFAULT_GPU_NUMBERS:
        return ANY
    known = [number for number in gpu_numbers.split("-") if f"cuda:{number}" in devices]
    return f"cuda:{'-'.join(known)}" if known else ANY
