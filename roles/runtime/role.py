"""What a role is, and what a running job may ask of its worker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from core.errors import JobCancelled, LeaseLost, SovitsError
from core.jobs.job import Beat, Job, Lease
from core.jobs.queue import is_connection_error

if TYPE_CHECKING:
    from roles.runtime.services import Services

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.2
"""Progress is told this often at most; what people watch needs no more."""


class Role(Protocol):
    """What a worker can do.

    A role may also carry `stop_grace_seconds: float` (default 3): how long after a cancel its `run` may
    go on before the worker ends itself. Raise Draining from `run` to hand the job back without a count.
    """

    name: str

    def start(self, services: Services) -> None:
        """Load what every job needs; an exception stops the worker with its reason."""

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        """Do one job; what it returns is the job's result. It may be run again after a crash."""

    def idle(self) -> None:
        """No job is waiting; called about once a second."""

    def stop(self) -> None:
        """The worker ends."""


class JobContext:
    """The running job's line to its worker; every method may be called from any thread."""

    def __init__(self, lease: Lease, services: Services, draining: threading.Event) -> None:
        self.job = lease.job
        self.lease = lease
        self.services = services
        self.draining = draining
        """Set when the worker was asked to end: finish soon, or raise Draining."""
        self.stopped_at = 0.0
        """By `time.monotonic`; 0 while nobody wants the job to stop."""
        self._reason: SovitsError | None = None
        self._callbacks: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self._last_progress = float("-inf")

    def progress(self, fraction: float, message: str = "", **extra: Any) -> None:
        """Tell how far the job is (0–1); raises JobCancelled, LeaseLost or Draining when it should stop."""
        self.check()
        now = time.monotonic()
        if now - self._last_progress < PROGRESS_SECONDS and fraction < 1.0:
            return
        self._last_progress = now
        self.event("progress", {"progress": fraction, "message": message, **extra})

    def event(self, kind: str, data: dict[str, Any]) -> None:
        """Tell something else: `checkpoint`, `log`. Raises like `progress`.

        While the queue is away the event is dropped: it is not worth the job.
        """
        self.check()
        try:
            beat = self.services.queue.progress(self.lease, {**data, "kind": kind})
        except Exception as error:
            if not is_connection_error(error):
                raise
            logger.debug("The queue is away; an event of kind %s is lost.", kind)
            return
        self.notice(beat)
        self.check()

    def check(self) -> None:
        """Raise JobCancelled, LeaseLost or Draining when the job should stop; costs nothing."""
        if self._reason is not None:
            raise self._reason

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Have `callback` called, from another thread, as soon as the job should stop."""
        with self._lock:
            self._callbacks.append(callback)
            if self._reason is None:
                return
        _call(callback)

    @property
    def reason(self) -> SovitsError | None:
        """Why the job should stop, if it should."""
        return self._reason

    def notice(self, beat: Beat) -> None:
        """Take in what the queue said about the lease."""
        if beat is Beat.CANCEL:
            self.stop(JobCancelled(f"The job {self.job.id} was cancelled."))
        elif beat is Beat.LOST:
            self.stop(LeaseLost(f"The lease on the job {self.job.id} was lost."))

    def stop(self, reason: SovitsError) -> None:
        """Ask the job to stop; the first reason stays."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            self.stopped_at = time.monotonic()
            callbacks = list(self._callbacks)
        logger.info("Stopping the job: %s", reason.message)
        for callback in callbacks:
            _call(callback)


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:
        logger.exception("A callback of a stopping job failed.")
