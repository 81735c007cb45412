"""Consents that are spoken: received, checked by a worker, compared with the voices that they are for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from api.services.job_errors import error_from_job
from api.services.recordings import RecordingService
from common import storage_keys
from common.files import sha256_of_file
from core.creation import creation_id
from core.errors import InvalidParameter, NotFound, NotReady, TimedOut
from core.ids import new_id
from core.jobs.events import Events
from core.jobs.file_jobs import FileJobPayload
from core.jobs.job import JobStatus, NewJob
from core.jobs.queue import AsyncQueue
from core.jobs.roles import FILES
from core.records import ConsentRecord, ConsentSource, NewConsentRecord, Records
from core.storage import Storage
from core.voices.consent_jobs import (
    CHECK_SECONDS,
    PHRASES,
    ConsentCheck,
    ConsentCheckRequest,
    SpeakerComparison,
    SpeakerComparisonRequest,
)

MAX_RECORDING_BYTES: Final = 10 << 20
MAX_SECONDS: Final = 60.0
SAMPLE_RATE: Final = 16_000
"""Hz; what the recognizer and the comparison of speakers work at."""
PRIORITY: Final = 7
"""Somebody waits for the response."""


class SpokenConsents:
    """Stores spoken consents and compares voices with them."""

    def __init__(
        self,
        service_name: str,
        records: Records,
        storage: Storage,
        queue: AsyncQueue,
        events: Events,
        recordings: RecordingService,
    ) -> None:
        """`service_name` is what the speaker of a consent calls this service."""
        self.service_name = service_name
        self.records = records
        self.storage = storage
        self.queue = queue
        self.events = events
        self.recordings = recordings

    async def create(self, new: NewConsentRecord, recording: Path) -> ConsentRecord:
        """Check an uploaded recording of a consent, and store it with its record.

        `new.language` is that of the phrase, of which only the first part counts; the statement is what was heard.

        Raises InvalidParameter for a language without a phrase, BadAudio, InvalidRequest when another text is said.
        """
        language = new.language.partition("-")[0].lower()
        if language not in PHRASES:
            raise InvalidParameter(
                f"There is no phrase of a consent in the language {new.language[:20]!r}.",
                hint=f"These have one: {', '.join(PHRASES)}.",
                details={"param": "language"},
            )
        consent_id = creation_id("cons")
        key = storage_keys.consent_file(consent_id)
        await self.recordings.check(recording)
        decoded = await self.recordings.read_mono(recording, sample_rate=SAMPLE_RATE, max_seconds=MAX_SECONDS)
        try:
            with self.storage.recording(key):
                sha256 = await asyncio.to_thread(sha256_of_file, decoded)
                await asyncio.to_thread(self.storage.publish, decoded, key)
                check = ConsentCheckRequest(recording=key, language=language, service=self.service_name)
                result = cast(ConsentCheck, await self._run(check, "consent"))
                complete = replace(
                    new,
                    id=consent_id,
                    statement=result["transcript"],
                    source=ConsentSource.RECORDING,
                    recording_key=key,
                    recording_sha256=sha256,
                )
                return await self.records.consents.create(complete)
        finally:
            decoded.unlink(missing_ok=True)

    async def get(self, consent_id: str) -> ConsentRecord:
        """Return a spoken consent that was not withdrawn; raise NotFound."""
        consent = await self.records.consents.get(consent_id)
        if consent.source is not ConsentSource.RECORDING or consent.withdrawn_at is not None:
            raise NotFound(f"no spoken consent {consent_id!r}", hint="POST /v1/audio/voice_consents makes one.")
        return consent

    async def delete(self, consent_id: str) -> None:
        """Withdraw a spoken consent and delete its recording; that it was given and withdrawn stays on record."""
        consent = await self.get(consent_id)
        await self.records.consents.withdraw(consent_id)
        await asyncio.to_thread(self.storage.delete, consent.recording_key)

    async def compare(self, consent: ConsentRecord, recording: str, *, transcribe: bool = False) -> SpeakerComparison:
        """Compare the voice of a stored recording with a spoken consent; raise InvalidRequest for another speaker's."""
        request = SpeakerComparisonRequest(recording=recording, consent=consent.recording_key, transcribe=transcribe)
        return cast(SpeakerComparison, await self._run(request, "voice"))

    async def check_voice(self, consent_id: str, recording: str) -> None:
        """Raise where a consent does not count, or is another speaker's than the one of a stored recording."""
        consent = await self.records.consents.get(consent_id)
        self.records.consents.check(consent, f"The consent {consent.id}")
        if consent.recording_key:
            await self.compare(consent, recording)

    async def _run(self, payload: FileJobPayload, prefix: str) -> object:
        """Run a file job and return its result; raise its error, or NotReady where nobody would take it."""
        workers = await self.queue.workers()
        if not any(worker.role == FILES and not worker.draining for worker in workers):
            raise NotReady(
                "No worker for files is running.", hint="Start the service's workers, or wait until they are up."
            )
        job_id = new_id(prefix)
        ended = False
        try:
            await self.queue.enqueue(NewJob(FILES, payload.stored(), job_id=job_id, priority=PRIORITY))
            job = await self.events.wait(job_id, CHECK_SECONDS)
            ended = True
        except TimedOut:
            raise TimedOut(
                f"The recording was not checked after {CHECK_SECONDS:g} s.", hint="Try again later."
            ) from None
        finally:
            if not ended:
                await asyncio.shield(self.queue.cancel(job_id))
        if job.status is not JobStatus.DONE or job.result is None:
            raise error_from_job(job)
        return job.result
