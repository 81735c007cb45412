"""The children of a host: what the plan places, and the API."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from core.jobs.roles import TRAINER
from core.process import GPUS, child_environment
from core.settings import REPOSITORY, Settings
from supervisor.child_monitor import ChildSpec
from supervisor.devices import Gpu
from supervisor.plan import CPU, Placement

DRAIN_MARGIN_SECONDS = 7.0
"""A worker ends itself this long before it would be killed: its own limit, then the grace of its last job."""


def api_spec(settings: Settings, redis_url: str) -> ChildSpec:
    """The API; it may stay as long as any worker may, and is told to end when the last one has."""
    return ChildSpec(
        name="API",
        command=_command("api"),
        env=_environment(redis_url, 1, CPU),
        drain_seconds=max(settings.drain_training_seconds, settings.drain_speech_seconds) + DRAIN_MARGIN_SECONDS,
    )


def worker_spec(placement: Placement, settings: Settings, redis_url: str, gpus: Sequence[Gpu] = ()) -> ChildSpec:
    """A worker where the plan wants it; `gpus` are those of the host, over which it may spread some of its work."""
    limit = settings.drain_training_seconds if placement.role == TRAINER else settings.drain_speech_seconds
    options = {"device": placement.device, "index": placement.index, "nice": placement.niceness}
    return ChildSpec(
        name=placement.name,
        command=_command(
            "work",
            placement.role,
            *(part for name, value in options.items() for part in (f"--{name}", str(value))),
            *(["--only-asked"] if placement.only_asked else []),
        ),
        env=_environment(redis_url, placement.threads, placement.device)
        | {GPUS: ",".join(f"{gpu.index}={gpu.uuid}" for gpu in gpus)},
        role=placement.role,
        drain_seconds=limit + DRAIN_MARGIN_SECONDS,
    )


def _command(*arguments: str) -> list[str]:
    """The command line that runs another command of this program."""
    return [sys.executable, str(REPOSITORY / "main.py"), *arguments]


def _environment(redis_url: str, threads: int, device: str) -> dict[str, str]:
    """A child's environment; systemd's lines to the supervisor are not for its children."""
    environment = child_environment(
        threads=threads,
        REDIS_URL=redis_url,
        CUDA_VISIBLE_DEVICES=device.removeprefix("cuda:") if device != CPU else "",
    )
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        environment.pop(name, None)
    return environment
