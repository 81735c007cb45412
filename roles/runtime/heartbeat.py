"""The background heartbeat thread: renews leases, notices cancels and drains, ends the process of a stuck job."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from core.errors import Draining, JobCancelled, LeaseLost
from core.jobs.job import LeaseStatus
from core.jobs.queue import Queue
from core.jobs.worker_process import RECYCLED
from core.redis import is_connection_error
from roles.runtime.role import JobContext

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 0.5
"""How soon a cancel is noticed; the lease alone would need a renewal every fifth of its length."""


class Heartbeat(threading.Thread):
    """Renews the registration of a worker and the lease on the job that it runs."""

    def __init__(
        self,
        queue: Queue,
        worker_id: str,
        draining: threading.Event,
        *,
        drain_seconds: float,
        stop_grace_seconds: float,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._queue = queue
        self._worker_id = worker_id
        self._draining = draining
        self._drain_seconds = drain_seconds
        self._drain_ends_at: float | None = None
        self._stop_grace_seconds = stop_grace_seconds
        self._lease_seconds = queue.options.lease_seconds
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._context: JobContext | None = None
        self._renewed_at = 0.0

    @contextmanager
    def track(self, context: JobContext) -> Iterator[None]:
        """Renew the lease on a job inside the block, and end the process when the job does not stop in time."""
        with self._lock:
            self._context = context
            self._renewed_at = time.monotonic()  # by its claim
        try:
            yield
        finally:
            with self._lock:
                self._context = None

    def end(self) -> None:
        """End the thread and wait for it."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        period = min(HEARTBEAT_SECONDS, self._lease_seconds / 5)
        while not self._ended.wait(period):
            try:
                self._renew()
            except Exception as error:
                if not is_connection_error(error):
                    logger.exception("A heartbeat failed.")
                else:
                    logger.debug("The queue is away; the next heartbeat tries again.")
                    if (context := self._context) is not None:
                        context.note_outage()
            self._check_deadlines()

    def _renew(self) -> None:
        context = self._context
        if context is not None and not context.lost:
            sent_at = time.monotonic()  # the lease counts from then at the latest, however late the reply is
            status = self._queue.renew_lease(context.lease)
            if status is LeaseStatus.LOST and context.was_away:
                self._queue.undo_rescue(self._worker_id, context.job.id)
            with self._lock:
                if context is not self._context:
                    return  # it ended meanwhile, and its lease with it
                self._renewed_at = sent_at
            context.queue_away = False
            context.update_lease(status)
        self._queue.worker_heartbeat(self._worker_id)

    def _check_deadlines(self) -> None:
        """Stop a job whose lease expired or whose drain takes too long; end the process of one that does not stop."""
        now = time.monotonic()
        if self._draining.is_set() and self._drain_ends_at is None:
            self._drain_ends_at = now + self._drain_seconds
        context = self._context
        if context is None or context.ended:
            return
        if (overdue := now - self._renewed_at - self._lease_seconds) > 0:
            # Cut off: another worker may have the job by now, and both would write the same folders.
            if context.saves_state and not context.cut_off.is_set():
                logger.warning("The queue was away for longer than the lease; the job saves its state.")
                context.cut_off.set()
            if not context.saves_state or overdue > self._drain_seconds:
                context.stop(LeaseLost(f"The queue was away for longer than the lease on {context.job.id}."))
        if self._drain_ends_at is not None and now > self._drain_ends_at:
            context.stop(Draining("The time for work in progress is over; the job is handed back."))
        if context.reason is None or now - context.stopped_at <= self._stop_grace_seconds:
            return
        self._end_process(context)

    def _end_process(self, context: JobContext) -> None:
        """End this process, whose job does not stop, and hand the job back if the queue is there."""
        with self._lock:
            if context is not self._context or context.ended:
                return
            logger.warning("The job %s does not stop; this worker ends itself.", context.job.id)
            try:
                if isinstance(context.reason, JobCancelled):
                    self._queue.confirm_cancel(context.lease)
                else:
                    self._queue.release(context.lease)
            except Exception as error:
                if not is_connection_error(error):
                    logger.exception("The job could not be handed back; its lease runs out.")
                else:
                    logger.warning("The queue is away; the supervisor hands the job back.")
            os._exit(0 if self._draining.is_set() else RECYCLED)
