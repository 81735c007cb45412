"""Consents that are spoken: received, checked by a worker, compared with the voices that they are for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from api.services.recordings import RecordingService
from api.services.waited_jobs import WaitedJobs
from common import storage_keys
from common.files import sha256_of_file
from core.creation import creation_id
from core.errors import InvalidParameter, NotFound
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


class SpokenConsents:
    """Stores spoken consents and compares voices with them."""

    def __init__(
        self,
        service_name: str,
        records: Records,
        storage: Storage,
        jobs: WaitedJobs,
        recordings: RecordingService,
    ) -> None:
        """`service_name` is what the speaker of a consent calls this service."""
        self.service_name = service_name
        self.records = records
        self.storage = storage
        self.jobs = jobs
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
                result = cast(ConsentCheck, (await self.jobs.run(check, "consent", CHECK_SECONDS)).result)
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
        return cast(SpeakerComparison, (await self.jobs.run(request, "voice", CHECK_SECONDS)).result)

    async def check_voice(self, consent_id: str, recording: str) -> None:
        """Raise where a consent does not count, or is another speaker's than the one of a stored recording."""
        consent = await self.records.consents.get(consent_id)
        self.records.consents.check(consent, f"The consent {consent.id}")
        if consent.recording_key:
            await self.compare(consent, recording)
