"""Keeps one child running: starts it, starts it again when it dies, and gives up on one that cannot start."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from core.errors import SovitsError
from core.process import CANNOT_START, RECYCLED, worker_id_of
from supervisor.process import Child

logger = logging.getLogger(__name__)

BOOT_SECONDS = 5.0
"""A child that dies so early and was never ready did not start at all."""
BOOT_FAILURES = 3
"""So many in a row, and starting it again will not help."""
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 15.0
"""Delays between restarts double up to this; a job whose worker died must not wait longer than 20 s."""
HEALTHY_SECONDS = 60.0
"""A child that lived so long starts with the first delay again."""


class BootFailed(SovitsError):
    """A child that cannot start; the message says why."""

    code = "boot_failed"


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to start, and how to speak of it."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    role: str = ""
    """Empty for the API, which is no worker."""
    drain_seconds: float = 5.0
    """How long it may take to end after SIGTERM."""


class Keeper:
    """One child's life, again and again."""

    def __init__(self, spec: ChildSpec, bury: Callable[[str], Awaitable[object]]) -> None:
        """`bury` is told the worker id of every worker that died, so that its jobs go back at once."""
        self.spec = spec
        self.ready = False
        """Set by whoever sees the child at work; forgotten when it dies."""
        self.child: Child | None = None
        self.worker_id = ""
        self._bury = bury
        self._stopping = asyncio.Event()
        self._boot_failures = 0
        self._deaths = 0

    async def run(self) -> None:
        """Until `drain`; BootFailed when the child cannot start."""
        while not self._stopping.is_set():
            self.child = await self._start()
            if self._stopping.is_set():  # asked to end between the decision and the start
                self.child.kill()
            code = await self.child.wait()
            if self.worker_id:
                await self._bury(self.worker_id)
            if self._stopping.is_set():
                return
            await self._take_in(self.child, code)

    async def drain(self) -> None:
        """End the child: SIGTERM, and SIGKILL to its group when its time is over."""
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
        child = await Child.start(command, self.spec.env)
        self.worker_id = worker_id_of(self.spec.role, child.pid, nonce) if self.spec.role else ""
        return child

    async def _take_in(self, child: Child, code: int) -> None:
        """Tell a boot that failed, a recycled worker and an accident apart; wait as long as it deserves."""
        if code == RECYCLED:
            logger.info("Restarting %s, which ended itself to stop a job.", self.spec.name)
            return
        explained = child.explain(code)
        if code == CANNOT_START or (not self.ready and child.age < BOOT_SECONDS):
            self._boot_failures += 1
            if self._boot_failures >= BOOT_FAILURES:
                raise BootFailed(f"{self.spec.name} cannot start ({BOOT_FAILURES} times in a row): {explained}")
        else:
            self._boot_failures = 0
        self._deaths = 1 if child.age > HEALTHY_SECONDS else self._deaths + 1
        delay = restart_delay(self._deaths)
        logger.warning("Restarting %s after unexpected exit (%s) in %.1f s.", self.spec.name, explained, delay)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay)


def restart_delay(deaths: int) -> float:
    """Seconds before the restart that follows the nth death in a row."""
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** (deaths - 1))
