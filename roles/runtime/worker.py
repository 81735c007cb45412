"""The worker: claim a job, run it, report how it ended; again until asked to drain."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeVar

from core.access import Caller, act_as
from core.errors import Draining, JobCancelled, LeaseLost, PermanentError, SovitsError
from core.jobs.file_jobs import LONG_RUNNING, file_job_kind
from core.jobs.job import Job, JobStatus, Lease, WorkerLocation
from core.jobs.logs import JobLogs
from core.jobs.placement import locate_worker
from core.jobs.queue import Queue
from core.jobs.queue_commands import QueueOptions
from core.jobs.roles import FILES, PREPROCESSOR, TRAINER
from core.jobs.worker_process import CANNOT_START, name_device, new_worker_id
from core.logs import configure_logs
from core.redis import connect, is_connection_error
from core.redis_server import find_redis_url
from core.settings import Settings
from roles.runtime.heartbeat import Heartbeat
from roles.runtime.registry import make_role
from roles.runtime.role import JobContext, Role
from roles.runtime.services import WorkerServices

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

CLAIM_SECONDS: Final = 1.0
"""A claim blocks at most so long, so that a drain is noticed; a new job wakes it at once."""

ROLE_CLASSES: Final = "SOVITSD_ROLE_CLASSES"
"""Environment variable `role=module:Class,…` that replaces the classes of roles; tests use it."""


def run_worker(
    role: str,
    settings: Settings,
    *,
    device: str = "cpu",
    nonce: str = "",
    role_class: str = "",
    dedicated: bool = False,
) -> int:
    """Run a worker of a role until SIGTERM and return its exit code."""
    configure_logs(settings.log_format, settings.log_level)
    replacements = dict(pair.split("=", 1) for pair in os.environ.get(ROLE_CLASSES, "").split(",") if "=" in pair)
    services = WorkerServices(settings, find_redis_url(settings), device=device.partition(":")[0])
    try:
        worker = Worker(
            make_role(role, role_class or replacements.get(role, "")),
            services,
            new_worker_id(role, nonce),
            locate_worker(settings, role, os.uname().nodename, name_device(device), dedicated=dedicated),
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.drain())
        worker.role.start(services)
    except Exception as error:
        logger.debug("Cannot start.", exc_info=True)
        reason = error.message if isinstance(error, SovitsError) else f"{type(error).__name__}: {error}"
        hint = f" {error.hint}" if isinstance(error, SovitsError) and error.hint else ""
        print(f"The role {role} cannot start: {reason}{hint}".replace("\n", " "), file=sys.stderr)
        return CANNOT_START
    worker.run()
    services.close()
    return 0


def is_log_streamed(role: str, job: Job) -> bool:
    """Return whether the log of a job is also streamed while it runs: only of jobs that take minutes."""
    return role in (PREPROCESSOR, TRAINER) or (role == FILES and file_job_kind(job.payload) in LONG_RUNNING)


class Worker:
    """One process that runs the jobs of one role, one at a time."""

    def __init__(
        self, role: Role, services: WorkerServices, worker_id: str, location: WorkerLocation | None = None
    ) -> None:
        settings = services.settings
        self.role = role
        self.services = services
        self.queue = services.queue
        self.worker_id = worker_id
        self.location = location or locate_worker(settings, role.name, os.uname().nodename, services.device)
        self.draining = threading.Event()
        self.heartbeat = Heartbeat(
            # A connection of its own: a role may hold the others for as long as it likes.
            Queue(connect(services.redis_url), QueueOptions.from_settings(settings)),
            worker_id,
            self.draining,
            drain_seconds=settings.drain_training_seconds if role.name == TRAINER else settings.drain_speech_seconds,
            stop_grace_seconds=role.stop_grace_seconds,
        )
        self.logs = JobLogs(
            services.storage,
            lambda topic, line: self.queue.publish_event(topic, "log", line),
            shared=settings.storage_is_bucket,
        )

    def drain(self) -> None:
        """Claim no more jobs; end when the one in progress has ended or its time is over."""
        self.draining.set()

    def run(self) -> None:
        """Run jobs until drained; the role must have been started."""
        self.heartbeat.start()
        logging.getLogger().addHandler(self.logs)
        registration = (self.worker_id, self.role.name, self.location.host, os.getpid(), self.location.device)
        self._retry(partial(self.queue.register_worker, *registration))
        logger.info("%s is ready on %s.", self.worker_id, self.services.device)
        try:
            while not self.draining.is_set():
                lease = self._retry(self._claim)
                if self.draining.is_set():
                    break  # what was claimed at the last moment goes back when this worker leaves
                if lease is not None:
                    self._process(lease)
                else:
                    self.role.idle()
        finally:
            self.heartbeat.end()
            self.role.stop()
            self._leave()
            logging.getLogger().removeHandler(self.logs)
            self.logs.close()

    def _claim(self) -> Lease | None:
        """Claim the next job; repeated after an outage, it may be the one of a claim whose reply was lost."""
        if self.draining.is_set():
            return None
        return self.queue.claim(self.role.name, self.worker_id, CLAIM_SECONDS, self.location)

    def _process(self, lease: Lease) -> None:
        """Run a claimed job and report how it ended."""
        context = JobContext(lease, self.services, self.draining)
        streamed = is_log_streamed(self.role.name, lease.job)
        acting = act_as(Caller.of_job(lease.job.owner or None))
        with self.logs.capture(lease.job, streamed=streamed), self.heartbeat.track(context), acting:
            logger.info("Claimed the job, attempt %d.", lease.job.attempts + 1)
            result: Mapping[str, object] = {}
            failure: SovitsError | None = None
            try:
                result = self.role.run(lease.job, context)
            except Exception as error:
                # A job that was told to stop ends for that reason, whatever its last steps raised.
                reason = context.reason or error
                if isinstance(reason, JobCancelled | LeaseLost | Draining):
                    failure = reason
                elif isinstance(error, SovitsError):
                    logger.warning("The job failed: %s", error.message)
                    failure = error
                else:
                    logger.error("The job failed.", exc_info=error)
                    failure = SovitsError(f"{type(error).__name__}: {error}")
            # The lease is still renewed: while the queue is away it must not expire.
            if failure is None:
                self._retry(partial(self._complete, lease, result))
            else:
                self._retry(partial(self._fail, lease, failure))

    def _complete(self, lease: Lease, result: Mapping[str, object]) -> None:
        if self.queue.ack(lease, result):
            logger.info("Done.")
        else:
            logger.warning("Another worker has the job now; this result is thrown away.")

    def _fail(self, lease: Lease, error: SovitsError) -> None:
        """Report a run that raised: it was cancelled, is to be returned, or counts as a failed attempt."""
        if isinstance(error, JobCancelled):
            if not self.queue.confirm_cancel(lease):
                # The records cancelled the run, and the queue has not been told yet.
                self.queue.cancel(lease.job.id)
                self.queue.confirm_cancel(lease)
            logger.info("Cancelled.")
        elif isinstance(error, LeaseLost | Draining):
            if self.queue.release(lease):
                logger.info("Handed the job back: %s", error.message)
            else:
                logger.warning("Gave the job up: %s", error.message)
        else:
            try:
                status = self.queue.fail(lease, error.as_dict(), permanent=isinstance(error, PermanentError))
            except LeaseLost:
                logger.warning("Another worker has the job now; this failure is not counted.")
                return
            if status is JobStatus.DEAD:
                attempts = lease.job.attempts + 1
                logger.error("Task failed after %d attempts, moving to dead letter queue.", attempts)

    def _retry(self, action: Callable[[], Result]) -> Result | None:
        """Repeat an action while the queue is away; None when a drain must not wait any longer."""
        wait, waited = 0.1, 0.0
        while True:
            try:
                result = action()
            except Exception as error:
                if not is_connection_error(error):
                    raise
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
