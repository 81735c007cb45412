"""What a worker process and its supervisor agree on: exit codes, worker ids and the names of devices."""

from __future__ import annotations

import os
from typing import Final

CANNOT_START: Final = 3
"""Exit code of a worker whose role could not be started; its last line says why."""
RECYCLED: Final = 4
"""Exit code of a worker that ended itself because its job would not stop: start another, nothing is wrong."""

UNUSABLE: Final = 5
"""Exit code of a worker that cannot work: its device is lost, or job after job failed; its last line says why."""

GPUS: Final = "SOVITSD_GPUS"
"""Environment variable in which the supervisor names the GPUs of the host to its workers: `0=<UUID>,1=<UUID>`."""


def prepare_worker(device: str, niceness: int) -> None:
    """Restrict this process to a device: call it before anything loads CUDA."""
    if niceness > 0:
        os.nice(niceness)
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif device.startswith("cuda:"):
        os.environ["CUDA_VISIBLE_DEVICES"] = device.removeprefix("cuda:")


def name_device(device: str) -> str:
    """Return `cpu` or `cuda:N` (as the driver numbers GPUs) for a worker's device, which may name a GPU by its UUID."""
    kind, _, name = device.partition(":")
    if kind != "cuda" or name.isdecimal():
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
    return f"{role}-{os.uname().nodename}-{pid}-{nonce}"
