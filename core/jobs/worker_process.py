"""What a worker process and its supervisor agree on: exit codes, worker ids and the names of devices."""

from __future__ import annotations

import os
from typing import Final

from common.operating_system import host_name, lower_priority

CANNOT_START: Final = 3
"""Exit code of a worker whose role could not be started; its last line says why."""
RECYCLED: Final = 4
"""Exit code of a worker that ended itself because its job would not stop: start another, nothing is wrong."""

UNUSABLE: Final = 5
"""Exit code of a worker that cannot work: its device is lost, or job after job failed; its last line says why."""

GPUS: Final = "SOVITSD_GPUS"
"""Environment variable in which the supervisor names the GPUs of the host to its workers: `0=<UUID>,1=<UUID>`."""


def visible_devices(device: str) -> dict[str, str]:
    """Return the environment in which a process sees only `cpu`, `cuda:<UUID>`, `rocm:<UUID>` or `mps`.

    Several GPUs of a kind are joined by commas.
    """
    kind, _, name = device.partition(":")
    if kind == "cpu":
        return {"CUDA_VISIBLE_DEVICES": ""}
    if kind == "rocm":  # the first one hides the others from what the other two count
        numbers = ",".join(str(number) for number, _ in enumerate(name.split(",")))
        return {"ROCR_VISIBLE_DEVICES": name, "HIP_VISIBLE_DEVICES": numbers, "CUDA_VISIBLE_DEVICES": numbers}
    return {"CUDA_VISIBLE_DEVICES": name} if kind == "cuda" and name else {}


def torch_device(device: str) -> str:
    """Return what torch calls the only device of its kind that a process sees: `cpu`, `cuda` or `mps`."""
    kind = device.partition(":")[0]
    return "cuda" if kind == "rocm" else kind


def prepare_worker(device: str, niceness: int) -> None:
    """Restrict this process to a device: call it before anything loads CUDA."""
    if niceness > 0:
        lower_priority(niceness)
    os.environ.update(visible_devices(device))


def name_device(device: str) -> str:
    """Return what jobs call a worker's device: `cpu`, `mps` or `cuda:N`, as the driver numbers GPUs by their UUIDs."""
    kind, _, name = device.partition(":")
    if kind not in ("cuda", "rocm"):
        return kind
    if kind == "cuda" and name.isdecimal():
        return device
    pairs = (pair.partition("=") for pair in os.environ.get(GPUS, "").split(","))
    return f"cuda:{next((index for index, _, uuid in pairs if name and uuid == name), '0')}"


def new_worker_id(role: str, nonce: str = "") -> str:
    """Return `role-host-pid-nonce` of this process: an id that never comes again."""
    return worker_id_of(role, os.getpid(), nonce or os.urandom(4).hex())


def slot_ids(worker_id: str, slots: int) -> list[str]:
    """Return the ids of the slots of a worker process, each of which is a worker to the queue; the first is its own."""
    return [worker_id, *(f"{worker_id}/{number}" for number in range(1, slots))]


def process_of(worker_id: str) -> str:
    """Return the id of the process that a slot belongs to."""
    return worker_id.partition("/")[0]


def worker_id_of(role: str, pid: int, nonce: str) -> str:
    """Return the id of the worker that runs on this host under that pid and was started with that nonce."""
    return f"{role}-{host_name()}-{pid}-{nonce}"
