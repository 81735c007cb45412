"""What this machine can compute with: its GPUs by their drivers, its cores by the kernel."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from supervisor.gpu import Gpu
from supervisor.other_gpus import find_amd_gpus, find_apple_gpus, torch_backends

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

_MIB = 1024 * 1024
_warnings: set[str] = set()
"""What was logged already."""


def find_gpus(visible: str | None = None) -> tuple[Gpu, ...]:
    """Return the GPUs of this host in their driver's order: NVIDIA's, else those of AMD or Apple that torch can use.

    They are limited to those that `visible` (CUDA_VISIBLE_DEVICES) names; HIP_VISIBLE_DEVICES goes before it for AMD's.
    """
    gpus = _find_nvidia_gpus()
    if gpus:
        return select_visible(gpus, visible)
    others = (*select_visible(find_amd_gpus(), os.environ.get("HIP_VISIBLE_DEVICES", visible)), *find_apple_gpus())
    return tuple(gpu for gpu in others if gpu.kind in torch_backends())  # torch is asked where there is such a GPU


def _find_nvidia_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs in NVML's order.

    A GPU that is split into MIG instances counts as these, and one that does not answer not at all. There are none
    without a driver; a driver that fails is logged, and the daemon uses the CPU.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return ()
    except pynvml.NVMLError as error:
        logger.info("No GPU is used: %s.", error)
        return ()
    try:
        return tuple(gpu for index in range(pynvml.nvmlDeviceGetCount()) for gpu in _read_gpus(pynvml, index))
    except pynvml.NVMLError as error:
        _warn_once("No GPU is used, because the driver does not answer: %s.", error)
        return ()
    finally:
        pynvml.nvmlShutdown()


def select_visible(gpus: tuple[Gpu, ...], visible: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that a CUDA_VISIBLE_DEVICES value selects; as in CUDA, an unknown name ends the list.

    The number of a GPU that is split stands for its first instance.
    """
    if visible is None:
        return gpus
    selected: list[Gpu] = []
    for name in (part.strip() for part in visible.split(",")):
        gpu = next((gpu for gpu in gpus if name and (name == str(gpu.index) or gpu.uuid.startswith(name))), None)
        if gpu is None or gpu in selected:
            break
        selected.append(gpu)
    return tuple(selected)


def _read_gpus(nvml: Any, index: int) -> list[Gpu]:
    """Return a GPU, or its MIG instances; nothing for one that does not answer, as after it fell off the bus."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        if not _is_split(nvml, handle):
            return [_read_gpu(nvml, handle, index)]
        instances = []
        for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            with suppress(nvml.NVMLError_NotFound):  # the numbers of instances have gaps
                instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
                instances.append(_read_gpu(nvml, instance, index, number))
        return instances
    except nvml.NVMLError as error:
        _warn_once("GPU %d is not used, because it does not answer: %s.", index, error)
        return []


def _warn_once(message: str, *details: object) -> None:
    """Log a fault once, however often the devices are read; drivers that recover say the same again, rarely."""
    text = message % details
    if text not in _warnings:
        _warnings.add(text)
        logger.warning("%s", text)


def _is_split(nvml: Any, handle: Any) -> bool:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:  # most GPUs cannot be split
        return False
    return bool(current)


def _read_gpu(nvml: Any, handle: Any, index: int, instance: int | None = None) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    uuid, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
    return Gpu(
        index=index,
        uuid=uuid if isinstance(uuid, str) else uuid.decode(),
        name=name if isinstance(name, str) else name.decode(),
        total_mb=memory.total // _MIB,
        free_mb=memory.free // _MIB,
        compute_capability=_read_or("", lambda: "{}.{}".format(*nvml.nvmlDeviceGetCudaComputeCapability(handle))),
        utilization=_read_or(0.0, lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
        instance=instance,
    )


def find_cuda_version() -> str:
    """Return the newest CUDA version that the driver supports, such as 12.4; empty without a driver."""
    import pynvml

    def read() -> str:
        pynvml.nvmlInit()
        try:
            version = pynvml.nvmlSystemGetCudaDriverVersion_v2()
        finally:
            pynvml.nvmlShutdown()
        return f"{version // 1000}.{version % 1000 // 10}"

    return _read_or("", read)


def _read_or(default: Value, read: Callable[[], Value]) -> Value:
    """Return what the driver says; the default where it does not say it, as in a MIG slice."""
    import pynvml

    try:
        return read()
    except pynvml.NVMLError:
        return default


def count_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the cores that this process may use: the scheduler's mask, cut to the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    if quota == "max":
        return cores
    return max(1, min(cores, int(quota) // int(period)))
