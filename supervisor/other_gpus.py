"""GPUs that NVML does not know: AMD's by the kernel, Apple's by the platform."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Final

from common.programs import TORCH_PROBE, program_command, program_environment
from core.memory import available_memory_mb, total_memory_mb
from supervisor.gpu import Gpu

logger = logging.getLogger(__name__)

_MIB = 1024 * 1024
_TOPOLOGY: Final = "class/kfd/kfd/topology/nodes"
"""What ROCm itself numbers GPUs by; CPUs are nodes, too."""
_BACKENDS_SECONDS: Final = 120.0


def find_amd_gpus(sysfs: Path = Path("/sys")) -> tuple[Gpu, ...]:
    """Return AMD's GPUs that the kernel offers for computing, in ROCm's order."""
    gpus: list[Gpu] = []
    nodes = sysfs / _TOPOLOGY
    for node in sorted(nodes.iterdir(), key=lambda path: int(path.name)) if nodes.is_dir() else ():
        try:
            pairs = (line.partition(" ") for line in (node / "properties").read_text().splitlines())
            properties = {name: int(value) for name, _, value in pairs}
            if properties.get("simd_count", 0) == 0:  # a CPU
                continue
            gpus.append(_read_amd_gpu(sysfs, node, properties, len(gpus)))
        except (OSError, ValueError, KeyError) as error:  # another container's GPU, or one that fell off the bus
            logger.debug("The GPU of node %s cannot be read: %s.", node.name, error)
    return tuple(gpus)


def _read_amd_gpu(sysfs: Path, node: Path, properties: dict[str, int], index: int) -> Gpu:
    card = sysfs / f"class/drm/renderD{properties['drm_render_minor']}/device"
    total, used = (int((card / f"mem_info_vram_{kind}").read_text()) for kind in ("total", "used"))
    busy = card / "gpu_busy_percent"
    target = properties.get("gfx_target_version", 0)  # 90010 is gfx90a
    unique_id = properties.get("unique_id", 0)
    return Gpu(
        index=index,
        uuid=f"GPU-{unique_id:016x}" if unique_id else str(index),
        name=(node / "name").read_text().strip() or "AMD GPU",
        total_mb=total // _MIB,
        free_mb=(total - used) // _MIB,
        compute_capability=f"{target // 10_000}.{target // 100 % 100}" if target else "",
        utilization=float(busy.read_text()) if busy.exists() else 0.0,
        kind="rocm",
    )


def find_apple_gpus() -> tuple[Gpu, ...]:
    """Return the GPU of a Mac with Apple's processor, whose memory is that of the host."""
    if (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        return ()
    return (Gpu(0, "mps", "Apple GPU", total_memory_mb(), available_memory_mb(), kind="mps"),)


@lru_cache(maxsize=1)
def torch_backends() -> frozenset[str]:
    """Return which of `rocm` and `mps` the installed torch can use; a child asks it, since it is large."""
    environment = program_environment(os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        answer = subprocess.run(
            program_command(TORCH_PROBE, "backends"),
            capture_output=True,
            text=True,
            timeout=_BACKENDS_SECONDS,
            check=True,
            env=environment,
        )
    except (subprocess.SubprocessError, OSError) as error:
        logger.warning("torch does not say which GPUs it can use, so the CPU is used: %s.", error)
        return frozenset()
    return frozenset(answer.stdout.split())
