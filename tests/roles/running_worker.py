"""A worker on a thread, whose role is given by the test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.jobs.job import Job
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.runtime.worker import Worker


@dataclass
class Script:
    """A role whose run is given by the test."""

    act: Callable[[Job, JobContext], dict[str, Any]]
    name: str = "splitter"
    stop_grace_seconds: float = 3.0
    calls: list[str] = field(default_factory=list)

    def start(self, services: WorkerServices) -> None:
        self.calls.append("start")

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        self.calls.append("run")
        return self.act(job, context)

    def idle(self) -> None:
        self.calls.append("idle")

    def stop(self) -> None:
        self.calls.append("stop")


@dataclass
class Running:
    """A worker on a thread."""

    worker: Worker
    role: Script
    thread: threading.Thread

    def drain(self) -> None:
        self.worker.drain()
        self.thread.join(20)
        assert not self.thread.is_alive()
