"""The background heartbeat thread: renews leases, notices cancels and drains, ends the process of a stuck job."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from core.errors import Draining, JobCancelled, LeaseLost
from core.jobs.job import LeaseStatus
from core.jobs.queue import Queue
from core.jobs.worker_process import RECYCLED
from core.redis import is_connection_error
from roles.runtime.role import JobContext

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 0.5
"""How soon a cancel is noticed whose announcement was lost; the lease alone would need a renewal every fifth of its
length."""
MAX_CANCELS: Final = 256
"""Announced cancels that are remembered, for jobs whose claim is under way."""


@dataclass(slots=True, eq=False)
class _TrackedJob:
    context: JobContext
    renewed_at: float
    """When its lease was renewed last, by `time.monotonic`."""


class Heartbeat(threading.Thread):
    """Renews the registrations of a process's workers and the leases on the jobs that they run."""

    def __init__(
        self,
        queue: Queue,
        worker_ids: Sequence[str],
        draining: threading.Event,
        *,
        drain_seconds: float,
        stop_grace_seconds: float,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._queue = queue
        self._worker_ids = worker_ids
        self._draining = draining
        self._drain_seconds = drain_seconds
        self._drain_ends_at: float | None = None
        self._stop_grace_seconds = stop_grace_seconds
        self._lease_seconds = queue.options.lease_seconds
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._jobs: dict[str, _TrackedJob] = {}
        """By the worker that holds each."""
        self._cancels: deque[str] = deque(maxlen=MAX_CANCELS)
        """The jobs whose cancels were announced last."""

    @contextmanager
    def track(self, context: JobContext) -> Iterator[None]:
        """Renew the lease on a job inside the block, and end the process when the job does not stop in time."""
        job = _TrackedJob(context, time.monotonic())  # by its claim
        with self._lock:
            self._jobs[context.lease.worker_id] = job
        if context.job.id in self._cancels:
            # It was announced since the claim; or before, and the job was replayed since: the queue knows.
            try:
                context.update_lease(self._queue.renew_lease(context.lease))
            except Exception as error:
                if not is_connection_error(error):
                    raise
                context.note_outage()  # the next renewal says it
        try:
            yield
        finally:
            with self._lock:
                del self._jobs[context.lease.worker_id]

    def cancel(self, job_id: str) -> None:
        """Stop a job whose cancel was announced, if it runs here or will in a moment."""
        self._cancels.append(job_id)
        for job in self._tracked():
            if job.context.job.id == job_id:
                job.context.update_lease(LeaseStatus.CANCEL)

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
                    for job in self._tracked():
                        job.context.note_outage()
            self._check_deadlines()

    def _tracked(self) -> list[_TrackedJob]:
        with self._lock:
            return list(self._jobs.values())

    def _renew(self) -> None:
        jobs = [job for job in self._tracked() if not job.context.lost]
        sent_at = time.monotonic()  # the leases count from then at the latest, however late the reply is
        statuses = self._queue.renew_leases([job.context.lease for job in jobs], self._worker_ids)
        for job, status in zip(jobs, statuses, strict=True):
            context = job.context
            if status is LeaseStatus.LOST and context.was_away:
                self._queue.undo_rescue(context.lease.worker_id, context.job.id)
            with self._lock:
                if self._jobs.get(context.lease.worker_id) is not job:
                    continue  # it ended meanwhile, and its lease with it
                job.renewed_at = sent_at
            context.queue_away = False
            context.update_lease(status)

    def _check_deadlines(self) -> None:
        """Stop jobs whose lease expired or whose drain takes too long; end the process of one that does not stop."""
        now = time.monotonic()
        if self._draining.is_set() and self._drain_ends_at is None:
            self._drain_ends_at = now + self._drain_seconds
        for job in self._tracked():
            self._check_deadlines_of(job, now)

    def _check_deadlines_of(self, job: _TrackedJob, now: float) -> None:
        context = job.context
        if context.ended:
            return
        if (overdue := now - job.renewed_at - self._lease_seconds) > 0:
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
        self._end_process(job)

    def _end_process(self, stuck: _TrackedJob) -> None:
        """End this process, one of whose jobs does not stop, and hand its jobs back if the queue is there."""
        with self._lock:
            if self._jobs.get(stuck.context.lease.worker_id) is not stuck or stuck.context.ended:
                return
            logger.warning("The job %s does not stop; this worker ends itself.", stuck.context.job.id)
            try:
                for job in self._jobs.values():
                    if isinstance(job.context.reason, JobCancelled):
                        self._queue.confirm_cancel(job.context.lease)
                    else:
                        self._queue.release(job.context.lease)
            except Exception as error:
                if not is_connection_error(error):
                    logger.exception("The job could not be handed back; its lease runs out.")
                else:
                    logger.warning("The queue is away; the supervisor hands the job back.")
            os._exit(0 if self._draining.is_set() else RECYCLED)
