"""The program of a worker process: `main.py work ROLE`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import Final

from common.operating_system import host_name
from core.errors import DeviceUnusable, SovitsError
from core.jobs.placement import locate_worker, slots_of
from core.jobs.server_check import find_usable_redis
from core.jobs.worker_process import CANNOT_START, UNUSABLE, name_device, new_worker_id, torch_device
from core.logs import configure_logs
from core.redis_server import find_redis_url
from core.settings import Settings
from roles.runtime.device_check import find_device_fault
from roles.runtime.registry import make_role
from roles.runtime.services import WorkerServices
from roles.runtime.worker import Worker

logger = logging.getLogger(__name__)

ROLE_CLASSES: Final = "SOVITSD_ROLE_CLASSES"
"""Environment variable `role=module:Class,…` that replaces the classes of roles; tests use it."""


def run_worker(
    role: str,
    settings: Settings,
    *,
    device: str = "cpu",
    nonce: str = "",
    role_class: str = "",
    dedicated: bool = False,
) -> int:
    """Run a worker of a role until SIGTERM and return its exit code."""
    configure_logs(settings.log_format, settings.log_level)
    replacements = dict(pair.split("=", 1) for pair in os.environ.get(ROLE_CLASSES, "").split(",") if "=" in pair)
    redis_url = find_redis_url(settings) if nonce else find_usable_redis(settings)  # the supervisor has checked it
    services = WorkerServices(settings, redis_url, device=torch_device(device))
    try:
        worker = Worker(
            make_role(role, role_class or replacements.get(role, "")),
            services,
            new_worker_id(role, nonce),
            locate_worker(settings, role, host_name(), name_device(device), dedicated=dedicated),
            slots=slots_of(settings, role, services.device, services.threads),
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.drain())
        services.worker_id, services.host = worker.worker_id, worker.location.host
        services.device_name = worker.location.device
        worker.role.start(services)
        if fault := find_device_fault(services.device):
            raise DeviceUnusable(f"its device {device} cannot be used: {fault}")
    except Exception as error:
        logger.debug("Cannot start.", exc_info=True)
        reason = error.sentences if isinstance(error, SovitsError) else f"{type(error).__name__}: {error}"
        print(f"The role {role} cannot start: {reason}".replace("\n", " "), file=sys.stderr)
        return CANNOT_START
    worker.run()
    services.close()
    if worker.unusable:
        print(f"{worker.worker_id} cannot work: {worker.unusable}".replace("\n", " "), file=sys.stderr)
        return UNUSABLE
    return 0
