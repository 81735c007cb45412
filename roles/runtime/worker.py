"""The worker: claim a job, run it, report how it ended; again until asked to drain."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import orjson

from common.operating_system import host_name
from core.access import Caller, act_as
from core.errors import DeviceUnusable, Draining, JobCancelled, LeaseLost, PermanentError, SovitsError
from core.jobs.file_jobs import LONG_RUNNING, file_job_kind
from core.jobs.job import Job, JobStatus, Lease, WorkerLocation
from core.jobs.logs import JobLogs
from core.jobs.placement import locate_worker
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.jobs.roles import FILES, PREPROCESSOR, SYNTHESIZER, TRAINER
from core.jobs.service_counts import ServiceCounts, claim_counts
from core.jobs.worker_process import slot_ids
from core.redis import connect, is_connection_error
from core.tracing import read_parent
from roles.runtime.cancel_listener import CancelListener
from roles.runtime.device_check import find_device_fault, poisons_device
from roles.runtime.heartbeat import Heartbeat
from roles.runtime.role import JobContext, Role
from roles.runtime.services import WorkerServices
from roles.runtime.slots import Slots

if TYPE_CHECKING:
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

CLAIM_SECONDS: Final = 1.0
"""A claim blocks at most so long, so that a drain is noticed; a new job wakes it at once."""

STREAM_POLL_SECONDS: Final = 0.05
"""How often a worker that drains looks for what continues a stream."""
STREAM_IDLE_SECONDS: Final = 0.5
"""After so long without any, no stream goes on: the next utterance is enqueued while one is being spoken."""
ALIVE_SECONDS: Final = 3.0
"""A worker whose last heartbeat is older may be dead."""
HEARTBEAT_SOCKET_SECONDS: Final = 5.0
"""A renewal that takes longer has failed; a third of the lease, if that is less."""
FAST_FAILURE_SECONDS: Final = 10.0
"""A job that fails in less time has hardly begun."""
MAX_FAST_FAILURES: Final = 5
"""Different jobs in a row that fail fast: the fault is the worker's, which hands the last one back and ends."""
SERVICE_FAULT: Final = 500
"""HTTP statuses below are mistakes of the caller, for which nobody has to look at a dead letter."""
MAX_OUTAGE_WAIT_SECONDS: Final = 5.0


def is_log_streamed(role: str, job: Job) -> bool:
    """Return whether the log of a job is also streamed while it runs: only of jobs that take minutes."""
    return role in (PREPROCESSOR, TRAINER) or (role == FILES and file_job_kind(job.payload) in LONG_RUNNING)


class Worker:
    """One process that runs the jobs of one role: one at a time, or as many as it has slots."""

    def __init__(
        self,
        role: Role,
        services: WorkerServices,
        worker_id: str,
        location: WorkerLocation | None = None,
        *,
        slots: int = 1,
    ) -> None:
        settings = services.settings
        self.role = role
        self.services = services
        self.queue = services.queue
        self.worker_id = worker_id
        self.location = location or locate_worker(settings, role.name, host_name(), services.device)
        self.draining = threading.Event()
        self.slots = Slots(slot_ids(worker_id, slots), self._process)
        self.unusable = ""
        """Why this worker cannot work any more, once it cannot."""
        self._fast_failures: set[str] = set()
        """Jobs that failed fast since one did not."""
        socket_seconds = min(HEARTBEAT_SOCKET_SECONDS, settings.lease_seconds / 3)
        self.heartbeat = Heartbeat(
            # A connection of its own: a role may hold the others for as long as it likes.
            Queue(connect(services.redis_url, socket_seconds=socket_seconds), QueueOptions.from_settings(settings)),
            self.slots.worker_ids,
            self.draining,
            drain_seconds=settings.drain_training_seconds if role.name == TRAINER else settings.drain_speech_seconds,
            stop_grace_seconds=role.stop_grace_seconds,
        )
        self.cancels = CancelListener(connect(services.redis_url), self.queue.key("cancels"), self.heartbeat.cancel)
        self.logs = JobLogs(
            services.storage,
            lambda topic, line: self.queue.publish_event(topic, "log", line),
            shared=settings.storage_is_bucket,
        )

    def drain(self) -> None:
        """Claim no more jobs, but for what continues speech; end when those in progress have ended or are late."""
        self.draining.set()

    def retire(self, reason: str) -> None:
        """Claim no more jobs because this worker cannot work; its process ends and is replaced."""
        logger.error("%s cannot work: %s", self.worker_id, reason)
        self.unusable = self.unusable or reason
        self.drain()

    def run(self) -> None:
        """Run jobs until drained; the role must have been started."""
        self.heartbeat.start()
        self.cancels.start()
        logging.getLogger().addHandler(self.logs)
        for slot in reversed(self.slots.worker_ids):  # the process is ready when the first one is there
            self._retry(partial(self._register, slot))
        logger.info("%s is ready on %s.", self.worker_id, self.services.device)
        try:
            while not self.draining.is_set():
                worker_id = self.slots.take(CLAIM_SECONDS)
                if worker_id is None:
                    continue
                lease = self._retry(partial(self._claim, worker_id))
                if lease is not None and not self.draining.is_set():
                    self.slots.run(lease)
                    continue
                if lease is not None:
                    self._retry(partial(self.queue.release, lease))
                self.slots.put_back(worker_id)
                self.role.idle()
            if self.role.name == SYNTHESIZER and not self.unusable:
                self._finish_streams()
            self.slots.wait()
        finally:
            self.heartbeat.end()
            self.cancels.end()
            self.role.stop()
            self._leave()
            logging.getLogger().removeHandler(self.logs)
            self.logs.close()

    def _register(self, worker_id: str) -> None:
        location = self.location
        slots = len(self.slots.worker_ids)
        self.queue.register_worker(worker_id, self.role.name, location.host, os.getpid(), location.device, slots)

    def _claim(self, worker_id: str) -> Lease | None:
        """Claim the next job; repeated after an outage, it may be the one of a claim whose reply was lost."""
        if self.draining.is_set():
            return None
        return self.queue.claim(self.role.name, worker_id, CLAIM_SECONDS, self.location)

    def _finish_streams(self) -> None:
        """Speak what continues the streams that somebody hears, unless another worker can; it comes bit by bit."""
        ends_at = time.monotonic() + self.services.settings.drain_speech_seconds
        idle_since = time.monotonic()
        try:
            for worker_id in self.slots.worker_ids:
                self.queue.note_draining(worker_id)
            while time.monotonic() < ends_at and not self.unusable:
                others = [worker for worker in self.queue.workers() if worker.role == SYNTHESIZER]
                if any(not worker.draining and worker.silent_seconds < ALIVE_SECONDS for worker in others):
                    return
                if self._claim_continuation() or self.slots.busy:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > STREAM_IDLE_SECONDS:
                    return
                time.sleep(STREAM_POLL_SECONDS)
        except Exception as error:
            if not is_connection_error(error):
                raise
            logger.warning("The queue is away (%s); what continues streams is left to other workers.", error)

    def _claim_continuation(self) -> bool:
        worker_id = self.slots.take(0)
        if worker_id is None:
            return False
        lease = self.queue.claim(self.role.name, worker_id, 0, self.location, draining=True)
        if lease is None:
            self.slots.put_back(worker_id)
            return False
        self.slots.run(lease)
        return True

    def _process(self, lease: Lease) -> None:
        """Run a claimed job and report how it ended; a worker that cannot do that hands the job back and ends."""
        try:
            self._run_and_report(lease)
        except Exception as error:
            logger.exception("How %s ended could not be reported.", lease.job.id)
            self.retire(f"it could not report how {lease.job.id} ended: {type(error).__name__}: {error}")
            try:
                self._retry(partial(self.queue.release, lease))
            except Exception:
                logger.exception("%s could not be handed back either; its lease runs out.", lease.job.id)

    def _run_and_report(self, lease: Lease) -> None:
        context = JobContext(lease, self.services, self.draining)
        streamed = is_log_streamed(self.role.name, lease.job)
        acting = act_as(Caller.of_job(lease.job.owner or None))
        with self.logs.capture(lease.job, streamed=streamed), self.heartbeat.track(context), acting:
            logger.info("Claimed the job, attempt %d.", lease.job.attempts + 1)
            context.counts.update(claim_counts(self.role.name, lease.job))
            started = time.monotonic()
            with self._traced(lease.job) as span:
                outcome = self._run_role(lease.job, context)
                if span is not None and isinstance(outcome, SovitsError):
                    span.set_attribute("error.type", outcome.code)
            context.ended = True
            if isinstance(outcome, SovitsError):
                outcome = self._blame_worker(lease.job, outcome, time.monotonic() - started)
                # The lease is still renewed: while the queue is away it must not expire.
                self._retry(partial(self._fail, lease, outcome, context), context)
            else:
                self._fast_failures.clear()
                self._retry(partial(self._complete, lease, outcome, context), context)
            self._count(context)

    @contextmanager
    def _traced(self, job: Job) -> Iterator[Span | None]:
        """Trace the job as a part of the request that created it, with the time that it waited before."""
        tracing = self.services.tracing
        if tracing.tracer is None:
            yield None
            return
        parent = read_parent(self.services.redis, tracing.parent_key(job.request_id)) if job.request_id else ""
        attributes = {"job.id": job.id, "job.role": self.role.name, "job.attempts": job.attempts}
        if parent and job.created_at:
            tracing.record(
                "queue", parent=parent, began_at=job.created_at, ended_at=job.started_at, attributes=attributes
            )
        with tracing.span(f"job {self.role.name}", parent=parent, kind="consumer", attributes=attributes) as span:
            yield span

    def _count(self, context: JobContext) -> None:
        """Add what the job counted to what /metrics shows; while Redis is away, it is not counted."""
        try:
            ServiceCounts(self.queue.transport, self.queue.prefix).add(context.counts)
        except Exception as error:
            if not is_connection_error(error):
                raise
            logger.debug("Redis is away; %s is not counted.", context.counts)

    def _run_role(self, job: Job, context: JobContext) -> Mapping[str, object] | SovitsError:
        """Run a job and return its result or why it has none; run it again after an outage of the queue."""
        wait = 0.2
        while True:
            try:
                return self.role.run(job, context)
            except Exception as error:
                # A job that was told to stop ends for that reason, whatever its last steps raised.
                reason = context.reason or error
                if isinstance(reason, JobCancelled | LeaseLost | Draining):
                    return reason
                if not is_connection_error(error):
                    return self._failure(error)
                context.note_outage()
                logger.warning("The queue is away or rejects writes (%s); the job goes on when it is back.", error)
            while not context.reason and not self.draining.wait(wait):
                wait = min(wait * 2, MAX_OUTAGE_WAIT_SECONDS)
                try:
                    self.queue.probe()
                    break
                except Exception as error:
                    if not is_connection_error(error):
                        return self._failure(error)
            if context.reason or self.draining.is_set():
                return context.reason or Draining("The queue is away; the job is handed back.")

    def _failure(self, error: Exception) -> SovitsError:
        """Return what a role raised as an error of the service."""
        if poisons_device(error):
            logger.error("The device failed.", exc_info=error)
            return DeviceUnusable(f"{type(error).__name__}: {error}".partition("\n")[0])
        if isinstance(error, SovitsError):
            logger.warning("The job failed: %s", error.message)
            return error
        logger.error("The job failed.", exc_info=error)
        if fault := find_device_fault(self.services.device):
            return DeviceUnusable(fault)
        return SovitsError(f"{type(error).__name__}: {error}")

    def _blame_worker(self, job: Job, failure: SovitsError, seconds: float) -> SovitsError:
        """Return a job's failure, or DeviceUnusable when this worker is at fault, which then ends."""
        if isinstance(failure, DeviceUnusable):
            self.retire(f"its device is lost: {failure.message}")
        elif isinstance(failure, PermanentError | JobCancelled | LeaseLost | Draining):
            return failure  # the fault of the job, or of nobody
        elif seconds > FAST_FAILURE_SECONDS:
            self._fast_failures.clear()
        else:
            self._fast_failures.add(job.id)
            if len(self._fast_failures) >= MAX_FAST_FAILURES:
                reason = (
                    f"{MAX_FAST_FAILURES} different jobs in a row failed at once, the last one with: {failure.message}"
                )
                self.retire(reason)
                return DeviceUnusable(reason)
        return failure

    def _complete(self, lease: Lease, result: Mapping[str, object], context: JobContext) -> None:
        try:
            accepted = self.queue.ack(lease, result)
        except orjson.JSONEncodeError as error:
            logger.exception("The result of the job is no JSON.")
            self._fail(lease, SovitsError(f"The result of the job is no JSON: {error}."), context)
            return
        if accepted:
            logger.info("Done.")
        else:
            logger.warning("Another worker has the job now; this result is thrown away.")
            self._report_alive(context)

    def _report_alive(self, context: JobContext) -> None:
        """Uncount the rescue of a job that was lost because the queue could not be reached: no worker died."""
        if context.was_away:
            self.queue.undo_rescue(context.lease.worker_id, context.job.id)

    def _fail(self, lease: Lease, error: SovitsError, context: JobContext) -> None:
        """Report a run that raised: it was cancelled, is to be returned, or counts as a failed attempt."""
        if isinstance(error, JobCancelled):
            if not self.queue.confirm_cancel(lease):
                # The records cancelled the run, and the queue has not been told yet.
                self.queue.cancel(lease.job.id)
                self.queue.confirm_cancel(lease)
            logger.info("Cancelled.")
        elif isinstance(error, LeaseLost | Draining | DeviceUnusable):
            if self.queue.release(lease):
                logger.info("Handed the job back: %s", error.message)
            else:
                logger.warning("Gave the job up: %s", error.message)
                self._report_alive(context)
        else:
            try:
                permanent = isinstance(error, PermanentError)
                mistake = permanent and error.status < SERVICE_FAULT
                status = self.queue.fail(lease, error.as_dict(), permanent=permanent, callers_mistake=mistake)
            except LeaseLost:
                logger.warning("Another worker has the job now; this failure is not counted.")
                self._report_alive(context)
                return
            if status is JobStatus.DEAD and not mistake:
                attempts = lease.job.attempts + 1
                logger.error("Task failed after %d attempts, moving to dead letter queue.", attempts)

    def _retry(self, action: Callable[[], Result], context: JobContext | None = None) -> Result | None:
        """Repeat an action while the queue is away; None when a drain must not wait any longer.

        `context`: of the job whose end it reports.
        """
        wait, waited = 0.1, 0.0
        while True:
            try:
                result = action()
            except Exception as error:
                if not is_connection_error(error):
                    raise
                if context is not None:
                    context.note_outage()
                if waited == 0.0:
                    logger.warning("The queue is away (%s); waiting for it.", error)
                if self.draining.is_set() and waited > self.services.settings.lease_seconds:
                    return None
                time.sleep(wait)
                waited, wait = waited + wait, min(wait * 2, 2.0)
                continue
            if waited:
                logger.info("The queue is back after about %.1f s.", waited)
            return result

    def _leave(self) -> None:
        """Return what this worker holds, and its registration."""
        try:
            self.queue.reconcile(self.worker_id)
            self.queue.forget_worker(self.worker_id)
        except Exception as error:
            if not is_connection_error(error):
                raise
            logger.warning("The queue is away; it will notice by itself that this worker ended.")
