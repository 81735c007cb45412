"""The child processes of a host: all are started at first, some are ended and others started when the plan changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from supervisor.child_monitor import ChildMonitor, ExitHandler
from supervisor.child_specs import ChildSpec
from supervisor.plan import Placement, PlanChange

logger = logging.getLogger(__name__)


class Children:
    """Runs a monitor for each child, until it is drained."""

    def __init__(self, on_exit: ExitHandler) -> None:
        self.monitors: list[ChildMonitor] = []
        """Of the children that should run."""
        self.placements: dict[ChildMonitor, Placement] = {}
        """Of the workers among them."""
        self._on_exit = on_exit
        self._running: dict[ChildMonitor, asyncio.Task[None]] = {}
        self._ending: dict[ChildMonitor, asyncio.Task[None]] = {}
        """Of children that a change of the plan ends."""
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, spec: ChildSpec, placement: Placement | None = None) -> None:
        """Start a child; a worker has a placement."""
        monitor = ChildMonitor(spec, self._on_exit)
        self.monitors.append(monitor)
        if placement is not None:
            self.placements[monitor] = placement
        task = asyncio.create_task(monitor.run())
        self._running[monitor] = task
        task.add_done_callback(self._note_end)

    def apply(self, change: PlanChange, spec: Callable[[Placement], ChildSpec]) -> None:
        """Drain the workers that a new plan ends, without waiting for them, and start those that it adds."""
        for monitor, placement in list(self.placements.items()):
            if placement not in change.ended:
                monitor.spec = spec(placement)  # for its next start
                continue
            logger.info("Ending %s, which the plan has no longer.", placement.name)
            self.monitors.remove(monitor)
            del self.placements[monitor]
            self._ending[monitor] = asyncio.create_task(self._end(monitor))
        for placement in change.started:
            self.start(spec(placement), placement)

    async def _end(self, monitor: ChildMonitor) -> None:
        await monitor.drain()
        del self._ending[monitor]

    async def watch(self) -> None:
        """Wait for a child that cannot be run, and raise its error."""
        await self._failure

    def select(self, *, workers: bool) -> Sequence[ChildMonitor]:
        """Return the monitors of the workers, with those that are ending, or that of the API."""
        return [monitor for monitor in (*self.monitors, *self._ending) if bool(monitor.spec.role) == workers]

    def kill(self) -> None:
        """Kill what is still running."""
        for monitor in (*self.monitors, *self._ending):
            if monitor.child is not None and monitor.child.running:
                monitor.child.kill()

    async def join(self) -> None:
        """Wait until every monitor has ended; they must have been drained."""
        await asyncio.gather(*self._running.values(), *self._ending.values(), return_exceptions=True)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        monitor = next(monitor for monitor, running in self._running.items() if running is task)
        if monitor not in self.monitors:  # it was drained
            del self._running[monitor]
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_exception(error)
