"""The thread beside the work: renews the lease, notices cancels and drains, ends what will not stop."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from core.errors import Draining, JobCancelled, LeaseLost
from core.jobs.queue import Queue, is_connection_error
from core.process import RECYCLED
from roles.runtime.role import JobContext

logger = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
"""How soon a cancel is noticed; the lease alone would need a beat every fifth of its length."""
STOP_GRACE_SECONDS = 3.0
"""A job that goes on for so long after a cancel ends with its process."""


class Heart(threading.Thread):
    """Beats for a worker and for the job that it holds."""

    def __init__(
        self,
        queue: Queue,
        worker_id: str,
        draining: threading.Event,
        *,
        lease_seconds: float,
        drain_seconds: float,
        stop_grace_seconds: float = STOP_GRACE_SECONDS,
        exit_process: Callable[[int], object] = os._exit,
    ) -> None:
        super().__init__(name="heart", daemon=True)
        self._queue = queue
        self._worker_id = worker_id
        self._draining = draining
        self._lease_seconds = lease_seconds
        self._drain_seconds = drain_seconds
        self._stop_grace_seconds = stop_grace_seconds
        self._exit_process = exit_process
        self._period = min(BEAT_SECONDS, lease_seconds / 5)
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._context: JobContext | None = None
        self._beat_at = 0.0
        self._drain_ends_at: float | None = None

    def hold(self, context: JobContext) -> None:
        """Beat for this job from now on; its claim was the first beat."""
        with self._lock:
            self._context = context
            self._beat_at = time.monotonic()

    def let_go(self) -> None:
        """The job's end is the main thread's now; this thread will not end the process for it any more."""
        with self._lock:
            self._context = None

    def end(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(self._period):
            try:
                self._beat()
            except Exception as error:
                if not is_connection_error(error):
                    logger.exception("A beat failed.")
                else:
                    logger.debug("The queue is away; beating again.")
            self._watch()

    def _beat(self) -> None:
        context = self._context
        if context is not None and not isinstance(context.reason, LeaseLost):
            beat = self._queue.beat(context.lease)
            with self._lock:
                if context is not self._context:
                    return  # it ended meanwhile, and its lease with it
                self._beat_at = time.monotonic()
            context.notice(beat)
        self._queue.worker_beat(self._worker_id)

    def _watch(self) -> None:
        """What time alone decides: a lease that ran out, a drain that takes too long, a job that stays."""
        now = time.monotonic()
        if self._draining.is_set() and self._drain_ends_at is None:
            self._drain_ends_at = now + self._drain_seconds
        context = self._context
        if context is None:
            return
        if now - self._beat_at > self._lease_seconds:
            # Cut off: another worker may have the job by now, and both would write the same folders.
            context.stop(LeaseLost(f"The queue was away for longer than the lease on {context.job.id}."))
        if self._drain_ends_at is not None and now > self._drain_ends_at:
            context.stop(Draining("The time for work in progress is over; the job is handed back."))
        if context.reason is not None and now - context.stopped_at > self._stop_grace_seconds:
            self._end_process(context)

    def _end_process(self, context: JobContext) -> None:
        with self._lock:
            if context is not self._context:
                return
            logger.warning("The job %s does not stop; this worker ends itself.", context.job.id)
            try:
                if isinstance(context.reason, JobCancelled):
                    self._queue.confirm_cancel(context.lease)
                else:
                    self._queue.release(context.lease)
            except Exception:
                logger.exception("The job could not be handed back; its lease runs out.")
            self._exit_process(0 if self._draining.is_set() else RECYCLED)
