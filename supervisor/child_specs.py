"""How the children of a host are started: command line, environment, time to drain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.programs import product_command
from core.host_control import announcement_file
from core.jobs.roles import TRAINER
from core.jobs.worker_process import GPUS, visible_devices
from core.process import child_environment
from core.settings import Settings
from supervisor.gpu import Gpu
from supervisor.plan import CPU, Placement

DRAIN_MARGIN_SECONDS = 7.0
"""A worker ends itself this long before it would be killed: its own limit, then the grace of its last job."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to start, and how log lines call it."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    role: str = ""
    """Empty for the API, which is no worker."""
    drain_seconds: float = 5.0
    """Seconds between SIGTERM and SIGKILL."""
    announcement: Path | None = None
    """The file in which a process of the API says that it is at work."""


def api_spec(settings: Settings, redis_url: str, index: int = 0) -> ChildSpec:
    """Return the spec of a process of the API.

    It may drain as long as any worker, since it responds to the requests they finish.
    """
    return ChildSpec(
        name=f"API {index + 1}" if settings.api_workers > 1 else "API",
        command=product_command("api", *(["--index", str(index)] if index else [])),
        env=_environment(redis_url, 1, CPU) | api_environment(settings),
        announcement=announcement_file(settings.data_path, index),
        drain_seconds=max(settings.drain_training_seconds, settings.drain_speech_seconds) + DRAIN_MARGIN_SECONDS,
    )


def api_environment(settings: Settings) -> dict[str, str]:
    """Return what the processes of the API must agree on where they are several."""
    if settings.api_workers == 1:
        return {}
    return {
        "API_WORKERS": str(settings.api_workers),
        "API_PORT": str(settings.port),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics_folder(settings.data_path)),
    }


def metrics_folder(data_path: Path) -> Path:
    """Return the folder in which several processes of the API count for one another."""
    return data_path / "run" / "metrics"


def worker_spec(placement: Placement, settings: Settings, redis_url: str, gpus: Sequence[Gpu] = ()) -> ChildSpec:
    """Return a placed worker's spec; `gpus` are all of the host, over which it may spread some of its work."""
    limit = settings.drain_training_seconds if placement.role == TRAINER else settings.drain_speech_seconds
    options = ["--device", placement.device, "--index", str(placement.index), "--nice", str(placement.niceness)]
    if placement.dedicated:
        options.append("--dedicated")
    return ChildSpec(
        name=placement.name,
        command=product_command("work", placement.role, *options),
        env=_environment(redis_url, placement.threads, placement.device)
        | {GPUS: ",".join(f"{gpu.index}={gpu.uuid}" for gpu in gpus)},
        role=placement.role,
        drain_seconds=limit + DRAIN_MARGIN_SECONDS,
    )


def _environment(redis_url: str, threads: int, device: str) -> dict[str, str]:
    """Return a child's environment, without systemd's variables, which are meant for the supervisor."""
    environment = child_environment(
        threads=threads,
        REDIS_URL=redis_url,
        CUDA_DEVICE_ORDER="PCI_BUS_ID",  # the driver's order, as that of NVML
    )
    environment |= visible_devices(device)
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        environment.pop(name, None)
    return environment
