"""Keep one child process running: start it, restart it when it exits, pause one that cannot start or cannot work."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from typing import Protocol

from core.errors import SovitsError
from core.jobs.worker_process import CANNOT_START, RECYCLED, UNUSABLE, worker_id_of
from supervisor.child_specs import ChildSpec
from supervisor.process import Child

logger = logging.getLogger(__name__)

BOOT_SECONDS = 5.0
"""A child that exits within this time without having been ready has failed to boot."""
MAX_BOOT_FAILURES = 3
"""Failures to boot in a row after which a child is disabled."""
DISABLED_SECONDS = 60.0
"""A disabled worker is tried again after so long: a device may come back."""
MIN_RESTART_DELAY_SECONDS = 0.5
MAX_RESTART_DELAY_SECONDS = 15.0
"""Restart delays double up to this; a job whose worker died must not wait longer than 20 s."""
HEALTHY_SECONDS = 60.0
"""A child that ran this long is restarted with the shortest delay again."""


class BootFailed(SovitsError):
    """A child that cannot start; the message has the reason."""

    code = "boot_failed"


class ExitHandler(Protocol):
    """What is done about the jobs of a worker that exited."""

    async def __call__(self, worker_id: str, *, crashed: bool) -> object:
        """`crashed`: it did not end itself and was not asked to, which counts against its jobs."""


class ChildMonitor:
    """Run one child until it is drained, restarting it after each exit."""

    def __init__(self, spec: ChildSpec, on_exit: ExitHandler) -> None:
        """`on_exit` gets the id of every worker that exited, so that its jobs can be requeued at once."""
        self.spec = spec
        self.fault = ""
        """Why the child does not work; empty while it does, or may."""
        self.ready = False
        """Set by the supervisor when the child is at work; reset when it is restarted."""
        self.child: Child | None = None
        self.worker_id = ""
        self._on_exit = on_exit
        self._stopping = asyncio.Event()
        self._failures = 0
        """In a row, to start or to work."""
        self._exits = 0

    async def run(self) -> None:
        """Run the child until `drain`; raise BootFailed when it cannot start and is no worker.

        A worker that cannot start, or cannot work, is disabled and tried again every DISABLED_SECONDS.
        """
        while not self._stopping.is_set():
            self.child = await self._start()
            if self._stopping.is_set():  # drained between the check and the start
                self.child.kill()
            code = await self.child.wait()
            if self.worker_id:
                crashed = not self._stopping.is_set() and code not in (0, RECYCLED, UNUSABLE)
                await self._on_exit(self.worker_id, crashed=crashed)
            if self._stopping.is_set():
                return
            await self._wait_before_restart(self.child, code)

    async def drain(self) -> None:
        """End the child: SIGTERM, then SIGKILL to its group after `spec.drain_seconds`."""
        self._stopping.set()
        child = self.child
        if child is None or not child.running:
            return
        child.terminate()
        logger.info("Asked %s to end.", self.spec.name)
        waiting = asyncio.ensure_future(child.wait())
        done, _ = await asyncio.wait({waiting}, timeout=self.spec.drain_seconds)
        if not done:
            logger.warning("%s does not end; killing it.", self.spec.name)
            child.kill()
            await waiting

    async def _start(self) -> Child:
        logger.info("Starting %s...", self.spec.name)
        self.ready = False
        command = list(self.spec.command)
        nonce = os.urandom(4).hex()
        if self.spec.role:
            command += ["--nonce", nonce]
        child = await Child.start(command, self.spec.env, keep_stdout=not self.spec.role)
        self.worker_id = worker_id_of(self.spec.role, child.pid, nonce) if self.spec.role else ""
        return child

    async def _wait_before_restart(self, child: Child, code: int) -> None:
        """Classify an exit as recycled, failed or unexpected, and wait accordingly; raise BootFailed for the API."""
        if code == RECYCLED:
            logger.info("Restarting %s, which ended itself to stop a job.", self.spec.name)
            return
        reason, was_ready = child.explain(code), self.ready
        if code in (CANNOT_START, UNUSABLE) or (not self.ready and child.age < BOOT_SECONDS):
            self._failures = 1 if code == UNUSABLE and child.age > HEALTHY_SECONDS else self._failures + 1
            self.fault = reason
        else:
            self._failures, self.fault = 0, ""
        self.ready = False
        if self._failures >= MAX_BOOT_FAILURES:
            verb = "work" if code == UNUSABLE else "start"
            problem = f"{self.spec.name} cannot {verb} ({MAX_BOOT_FAILURES} times in a row): {reason}"
            if not self.spec.role:
                raise BootFailed(problem)
            if self._failures == MAX_BOOT_FAILURES:
                logger.error("%s It is disabled, and tried again every %g s.", problem, DISABLED_SECONDS)
            delay = DISABLED_SECONDS
        else:
            self._exits = 1 if child.age > HEALTHY_SECONDS else self._exits + 1
            # Somebody may be listening to what a worker was saying: one that was at work is replaced at once, unless
            # it is of those that die as soon as they are ready.
            at_once = was_ready and code != UNUSABLE and child.age > BOOT_SECONDS
            delay = 0.0 if at_once else restart_delay(self._exits)
            what = "which cannot work" if code == UNUSABLE else "after unexpected exit"
            logger.warning("Restarting %s %s (%s) in %.1f s.", self.spec.name, what, reason, delay)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay)

    @property
    def disabled(self) -> bool:
        """Whether it failed so often that it is only tried again now and then."""
        return self._failures >= MAX_BOOT_FAILURES and not self.ready

    def note_ready(self) -> None:
        """Record that the child is at work."""
        self.ready = True
        self.fault = ""


def restart_delay(exits: int) -> float:
    """Return the seconds to wait before the restart that follows the nth exit in a row."""
    return min(MAX_RESTART_DELAY_SECONDS, MIN_RESTART_DELAY_SECONDS * 2.0 ** (exits - 1))
