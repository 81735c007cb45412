"""Roles for tests: they tell the test what they do, and wait until it lets them go on."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import Any

from core.errors import Draining, InvalidRequest, SovitsError
from core.jobs.job import Job, NewJob
from roles.runtime.role import STOP_GRACE_SECONDS, JobContext
from roles.runtime.services import WorkerServices

ADDRESS = "TOY_ADDRESS"
"""Environment variable: where the test listens, `host:port`."""


class Toy:
    """Does what the payload's `how` says."""

    name = "splitter"
    stop_grace_seconds = STOP_GRACE_SECONDS

    def start(self, services: WorkerServices) -> None:
        self.services = services

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        with self._tell(job) as line:
            how = job.payload.get("how", "return")
            return {**getattr(self, f"_{how}")(context, line), "pid": os.getpid()}

    def idle(self) -> None:
        """Nothing to free."""

    def stop(self) -> None:
        """Nothing to close."""

    def _tell(self, job: Job) -> socket.socket:
        host, port = os.environ[ADDRESS].split(":")
        line = socket.create_connection((host, int(port)))
        announcement = {"job": job.id, "pid": os.getpid(), "attempts": job.attempts, "rescues": job.rescues}
        line.sendall(json.dumps(announcement).encode() + b"\n")
        return line

    def _return(self, context: JobContext, line: socket.socket) -> dict[str, Any]:
        return {}

    def _wait(self, context: JobContext, line: socket.socket) -> dict[str, Any]:
        """Until the test lets it go; stops when it is told to."""
        line.settimeout(0.05)
        while True:
            context.check()
            try:
                if line.recv(1):
                    return {}
                raise SovitsError("The test has gone.")
            except TimeoutError:
                continue

    def _wait_deaf(self, context: JobContext, line: socket.socket) -> dict[str, Any]:
        """Until the test lets it go, whatever the queue says."""
        line.recv(1)
        return {}

    def _wait_or_drain(self, context: JobContext, line: socket.socket) -> dict[str, Any]:
        """Hand back at once when the worker drains, as a training does."""
        line.settimeout(0.05)
        while not context.draining.is_set():
            context.check()
            try:
                line.recv(1)
                return {}
            except TimeoutError:
                continue
        raise Draining("The state is saved.")

    def _die(self, context: JobContext, line: socket.socket) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    def _die_thrice(self, context: JobContext, line: socket.socket) -> dict[str, Any]:
        """Die as long as the test says so."""
        if line.recv(1) == b"x":
            os.kill(os.getpid(), signal.SIGKILL)
        return {}

    def _fail(self, context: JobContext, line: socket.socket) -> dict[str, Any]:
        raise SovitsError("It went wrong.", hint="Try again.")

    def _fail_when_told(self, context: JobContext, line: socket.socket) -> dict[str, Any]:
        """Fail if the test says so."""
        if line.recv(1) == b"x":
            raise SovitsError("It went wrong.")
        return {}

    def _refuse(self, context: JobContext, line: socket.socket) -> dict[str, Any]:
        raise InvalidRequest("It will never go right.")

    def _crash(self, context: JobContext, line: socket.socket) -> dict[str, Any]:
        raise ZeroDivisionError("division by zero")


class Enqueuer(Toy):
    """Enqueues another job when the test lets it go."""

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        with self._tell(job) as line:
            line.recv(1)
        self.services.queue.enqueue(NewJob("synthesizer", {}, job_id=f"{job.id}.0"))
        return {}


class Poisoned(Toy):
    """Has a device that breaks at the first job of each process that is asked to break it."""

    def _poison(self, context: JobContext, line: socket.socket) -> dict[str, Any]:
        raise RuntimeError("CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA`.")


class Broken(Toy):
    """Cannot start."""

    def start(self, services: WorkerServices) -> None:
        raise SovitsError("The engine is missing.", hint="Install it.")


class SpeakingToy(Toy):
    """A toy in the place of a synthesizer."""

    name = "synthesizer"
