"""The interface of a role, and the context in which it runs a job."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from core.errors import JobCancelled, LeaseLost, SovitsError
from core.jobs.job import Job, Lease, LeaseStatus
from core.redis import is_connection_error
from roles.runtime.services import WorkerServices

logger = logging.getLogger(__name__)

STOP_GRACE_SECONDS: Final = 3.0
"""How long a job of most roles may go on after it was told to stop."""
CONFIRM_SECONDS: Final = 0.2
"""How soon a job asks again whether it still has its lease, while the queue is away."""
PROGRESS_SECONDS: Final = 0.2
"""Progress is published at most this often; what people watch needs no more."""


class Role(Protocol):
    """The kind of jobs that a worker runs. Raise Draining from `run` to return the job without a count."""

    name: str
    stop_grace_seconds: float
    """How long `run` may go on after the job was told to stop, before the worker ends its own process."""

    def start(self, services: WorkerServices) -> None:
        """Load what every job needs; an exception stops the worker with its reason."""

    def run(self, job: Job, context: JobContext) -> Mapping[str, object]:
        """Run one job and return its result, a JSON object. It may be run again after a crash."""

    def idle(self) -> None:
        """Use the time while no job is waiting; called about once a second."""

    def stop(self) -> None:
        """Free everything: the worker ends."""


class JobContext:
    """The connection of a running job to its worker; every method may be called from any thread."""

    def __init__(self, lease: Lease, services: WorkerServices, draining: threading.Event) -> None:
        self.job = lease.job
        self.lease = lease
        self.services = services
        self.draining = draining
        """Set when the worker should end: finish soon, or raise Draining."""
        self.saves_state = False
        """Set it while the job can save its state within the time of a drain."""
        self.cut_off = threading.Event()
        """Set when the queue was away for longer than the lease of a job that `saves_state`: save it, raise Draining.
        Other jobs are stopped then."""
        self.lost = False
        """Whether the queue said that the lease is lost."""
        self.queue_away = False
        """Whether the queue did not respond to the last renewal of the lease."""
        self.was_away = False
        """Whether the queue was away at any time during this job."""
        self.ended = False
        """Whether the run is over and only its end is to be reported: there is nothing to stop any more."""
        self.stopped_at = 0.0
        """When the job was told to stop, by `time.monotonic`; 0 while it was not."""
        self.counts: defaultdict[str, float] = defaultdict(float)
        """What the job adds to /metrics when it ends (`core.jobs.service_counts`)."""
        self._reason: SovitsError | None = None
        self._callbacks: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self._last_progress = float("-inf")

    @property
    def reason(self) -> SovitsError | None:
        """Why the job should stop, if it should: JobCancelled, LeaseLost or Draining."""
        return self._reason

    def check(self) -> None:
        """Raise JobCancelled, LeaseLost or Draining when the job should stop; costs nothing."""
        if self._reason is not None:
            raise self._reason

    def confirm_lease(self) -> None:
        """Raise like `check`, but by what the queue says at this moment; wait for it while it is away.

        Call it right before what must not happen twice: a process that slept does not know yet that its lease is lost.
        """
        while True:
            self.check()
            try:
                status = self.services.queue.renew_lease(self.lease)
            except Exception as error:
                if not is_connection_error(error):
                    raise
                self.note_outage()
                time.sleep(CONFIRM_SECONDS)  # the heartbeat stops the job when its lease has run out
                continue
            self.update_lease(status)
            self.check()
            return

    def progress(self, fraction: float, message: str = "", **extra: object) -> None:
        """Publish how far the job is (0–1); raise like `check`."""
        self.check()
        now = time.monotonic()
        if now - self._last_progress < PROGRESS_SECONDS and fraction < 1.0:
            return
        self._last_progress = now
        self.event("progress", {"progress": fraction, "message": message, **extra})

    def event(self, kind: str, data: Mapping[str, object]) -> None:
        """Publish another event, such as `checkpoint` or `log`; raise like `check`.

        While the queue is away the event is dropped: it is not worth the job.
        """
        self.check()
        if self.queue_away:
            return
        try:
            status = self.services.queue.progress(self.lease, data, kind)
        except Exception as error:
            if not is_connection_error(error):
                raise
            self.note_outage()
            logger.debug("The queue is away; an event of kind %s is lost.", kind)
            return
        self.update_lease(status)
        self.check()

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Have `callback` called, from another thread, as soon as the job should stop."""
        with self._lock:
            self._callbacks.append(callback)
            if self._reason is None:
                return
        _call(callback)

    def note_outage(self) -> None:
        """Record that the queue did not respond."""
        self.queue_away = self.was_away = True

    def update_lease(self, status: LeaseStatus) -> None:
        """Stop the job if its lease was lost or a cancel was requested."""
        if status is LeaseStatus.CANCEL:
            self.stop(JobCancelled(f"The job {self.job.id} was cancelled."))
        elif status is LeaseStatus.LOST:
            self.lost = True
            self.stop(LeaseLost(f"The lease on the job {self.job.id} was lost."))

    def stop(self, reason: SovitsError) -> None:
        """Tell the job to stop; the first reason stays."""
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
