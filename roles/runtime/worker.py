"""The worker: claim a job, run it, tell the queue how it ended; again until asked to drain."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from core.errors import Draining, JobCancelled, LeaseLost, PermanentError, SovitsError
from core.jobs.file_jobs import LONG_RUNNING, file_job_kind
from core.jobs.job import Job, JobStatus, Lease, Place
from core.jobs.logs import JobLogs
from core.jobs.placement import place_of
from core.jobs.queue import Queue, is_connection_error
from core.jobs.roles import FILES, PREPROCESSOR, TRAINER
from core.logs import configure_logs, current_job
from core.process import CANNOT_START, name_device, new_worker_id
from core.redis import connect, find_redis_url
from core.settings import Settings
from roles import make_role
from roles.runtime.heartbeat import STOP_GRACE_SECONDS, Heart
from roles.runtime.role import JobContext, Role
from roles.runtime.services import Services

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

CLAIM_SECONDS = 1.0
"""A claim blocks so long at most, so that a drain is noticed; a new job wakes it at once."""

ROLE_CLASSES = "SOVITSD_ROLE_CLASSES"
"""Environment variable `role=module:Class,…` that puts other classes in the place of roles; tests use it."""


def work(
    role: str,
    settings: Settings,
    *,
    device: str = "cpu",
    nonce: str = "",
    role_class: str = "",
    only_asked: bool = False,
) -> int:
    """Run a worker of a role until SIGTERM; the exit code."""
    configure_logs(settings.log_format, settings.log_level)
    replaced = dict(pair.split("=", 1) for pair in os.environ.get(ROLE_CLASSES, "").split(",") if "=" in pair)
    services = Services(settings, find_redis_url(settings), device=device.partition(":")[0])
    try:
        worker = Worker(
            make_role(role, role_class or replaced.get(role, "")),
            services,
            new_worker_id(role, nonce),
            place_of(settings, role, os.uname().nodename, name_device(device), only_asked=only_asked),
        )
        worker.listen_to_signals()
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

    def __init__(self, role: Role, services: Services, worker_id: str, place: Place | None = None) -> None:
        self.role = role
        self.services = services
        self.worker_id = worker_id
        self.place = place or place_of(services.settings, role.name, os.uname().nodename, services.device)
        self.draining = threading.Event()

    def drain(self) -> None:
        """Take no more jobs; end when the one in progress has ended or its time is over."""
        self.draining.set()

    def listen_to_signals(self) -> None:
        """SIGTERM and SIGINT drain."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.drain())

    def run(self) -> None:
        """Work until drained; the role must have been started."""
        heart = self._start_heart()
        logs = self._keep_logs()
        self._persist(self._register)
        logger.info("%s is ready on %s.", self.worker_id, self.services.device)
        try:
            while not self.draining.is_set():
                lease = self._persist(self._claim)
                if self.draining.is_set():
                    break  # what was claimed at the last moment goes back when this worker leaves
                if lease is not None:
                    with logs.of(lease.job, streamed=is_log_streamed(self.role.name, lease.job)):
                        self._work(lease, heart)
                else:
                    self.role.idle()
        finally:
            heart.end()
            self.role.stop()
            self._leave()
            logging.getLogger().removeHandler(logs)
            logs.close()

    def _start_heart(self) -> Heart:
        settings = self.services.settings
        heart = Heart(
            # Connections of its own: the work may hold the others for as long as it likes.
            Queue.from_settings(connect(self.services.redis_url), settings),
            self.worker_id,
            self.draining,
            lease_seconds=settings.lease_seconds,
            drain_seconds=(
                settings.drain_training_seconds if self.role.name == TRAINER else settings.drain_speech_seconds
            ),
            stop_grace_seconds=getattr(self.role, "stop_grace_seconds", STOP_GRACE_SECONDS),
        )
        heart.start()
        return heart

    def _keep_logs(self) -> JobLogs:
        """Every job gets a log of its own."""
        logs = JobLogs(
            self.services.storage,
            lambda topic, line: self.services.events.publish(topic, "log", line),
            shared=self.services.settings.storage_is_bucket,
        )
        logging.getLogger().addHandler(logs)
        return logs

    def _register(self) -> None:
        self.services.queue.register_worker(
            self.worker_id, self.role.name, self.place.host, os.getpid(), self.place.device
        )

    def _claim(self) -> Lease | None:
        if self.draining.is_set():
            return None
        # One whose answer was lost is asked for again: the queue then hands out the same job.
        return self.services.queue.claim(self.role.name, self.worker_id, CLAIM_SECONDS, self.place)

    def _work(self, lease: Lease, heart: Heart) -> None:
        job = lease.job
        context = JobContext(lease, self.services, self.draining)
        marker = current_job.set(job.id)
        logger.info("Claimed the job, attempt %d.", job.attempts + 1)
        heart.hold(context)
        try:
            result = self.role.run(job, context)
            finish: Callable[[], None] = lambda: self._complete(context, result)  # noqa: E731
        except Exception as error:
            finish = self._ending(context, error)
        try:
            # Still under the heart: while the queue is away the lease must not be forgotten.
            self._persist(finish)
        finally:
            heart.let_go()
            current_job.reset(marker)

    def _complete(self, context: JobContext, result: dict[str, object]) -> None:
        if self.services.queue.ack(context.lease, result):
            logger.info("Done.")
        else:
            logger.warning("Another worker has the job now; this result is thrown away.")

    def _ending(self, context: JobContext, error: Exception) -> Callable[[], None]:
        """What to tell the queue about a run that raised.

        A job that was told to stop ends for that reason, whatever its dying parts raised.
        """
        reason = context.reason or error
        if isinstance(reason, JobCancelled):
            return lambda: self._confirm_cancel(context)
        if isinstance(reason, LeaseLost | Draining):
            return lambda: self._hand_back(context, reason)
        if isinstance(error, SovitsError):
            logger.warning("The job failed: %s", error.message)
            return lambda: self._fail(context, error)
        logger.error("The job failed.", exc_info=error)
        return lambda: self._fail(context, SovitsError(f"{type(error).__name__}: {error}"))

    def _confirm_cancel(self, context: JobContext) -> None:
        if not self.services.queue.confirm_cancel(context.lease):
            # The records ended it, and nobody told the queue yet.
            self.services.queue.cancel(context.job.id)
            self.services.queue.confirm_cancel(context.lease)
        logger.info("Cancelled.")

    def _hand_back(self, context: JobContext, reason: SovitsError) -> None:
        if self.services.queue.release(context.lease):
            logger.info("Handed the job back: %s", reason.message)
        else:
            logger.warning("Gave the job up: %s", reason.message)

    def _fail(self, context: JobContext, error: SovitsError) -> None:
        try:
            status = self.services.queue.fail(
                context.lease, error.as_dict(), permanent=isinstance(error, PermanentError)
            )
        except LeaseLost:
            logger.warning("Another worker has the job now; this failure is not counted.")
            return
        if status is JobStatus.DEAD:
            logger.error("Task failed after %d attempts, moving to dead letter queue.", context.job.attempts + 1)

    def _persist(self, action: Callable[[], Answer]) -> Answer | None:
        """Do it, again and again while the queue is away; None when a drain must not wait any longer."""
        wait, waited = 0.1, 0.0
        while True:
            try:
                answer = action()
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
            return answer

    def _leave(self) -> None:
        try:
            self.services.queue.reconcile(self.worker_id)
            self.services.queue.forget_worker(self.worker_id)
        except Exception as error:
            if not is_connection_error(error):
                raise
            logger.warning("The queue is away; it will notice by itself that this worker ended.")
