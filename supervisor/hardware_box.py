"""The box in the log of a start: whether a GPU is usable, versions, and each GPU with its memory and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from core.jobs.placement import KINDS, default_limit
from core.settings import Settings
from supervisor.gpu import Gpu

_MIB_PER_GIB = 1024


def hardware_box(gpus: Sequence[Gpu], cuda_version: str, settings: Settings) -> list[str]:
    """Return the lines of the box; at the start of a host none of its tasks is running yet."""
    lines = [
        f"GPU usable: {'yes' if gpus else 'no, everything runs on the CPU'}",
        f"CUDA: {cuda_version or '-'}   PyTorch: {_torch_version() or '-'}   GPUs: {len(gpus)}",
    ]
    for gpu in gpus:
        used_mb = gpu.total_mb - gpu.free_mb
        lines += [
            f"{gpu.name_for_jobs}  {gpu.name}, compute capability {gpu.compute_capability or '-'}",
            f"  memory: {_gib(gpu.total_mb)} GiB, {_gib(used_mb)} GiB used ({100 * used_mb / gpu.total_mb:.0f} %), "
            f"{_gib(gpu.free_mb)} GiB free",
            f"  {_tasks(settings, gpu.name_for_jobs)}",
        ]
    if not gpus:
        lines.append(f"cpu  {_tasks(settings, 'cpu')}")
    width = max(map(len, lines))
    edge = f"+{'-' * (width + 2)}+"
    return [edge, *(f"| {line.ljust(width)} |" for line in lines), edge]


def _tasks(settings: Settings, device: str) -> str:
    return "tasks: " + ", ".join(f"{kind} 0 of {default_limit(settings, device, kind)}" for kind in KINDS.values())


def _gib(mebibytes: int) -> str:
    return f"{mebibytes / _MIB_PER_GIB:.1f}"


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""
