"""Consents that end while a worker speaks: the jobs with their voices are stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import SovitsError
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices

logger = logging.getLogger(__name__)


class JobConsentWatch:
    """A thread that looks every few seconds whether the speakers of the voices in use still agree."""

    def __init__(self, services: WorkerServices) -> None:
        self._services = services
        self._jobs: dict[JobContext, str] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consents", daemon=True)
        self._thread.start()

    @contextmanager
    def watch(self, voice_id: str, context: JobContext) -> Iterator[None]:
        """Stop a job with ConsentMissing when the consent of its voice ends while the block runs."""
        self._jobs[context] = voice_id
        try:
            yield
        finally:
            del self._jobs[context]

    def close(self) -> None:
        """Watch no more."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        services = self._services
        while not self._closed.wait(services.settings.consent_check_seconds):
            jobs = self._jobs.copy()
            try:
                ended = services.call(services.records.consents.ended, set(jobs.values())) if jobs else {}
            except SovitsError as error:
                logger.warning("Whether speakers still agree is not known now: %s", error.message)
                continue
            for context, voice_id in jobs.items():
                if ending := ended.get(voice_id):
                    context.stop(ending)
