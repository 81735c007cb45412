"""Operations on data sets for every API: create, correct, report, split, augment, crop.

What takes time is a job of the role `files`. Its version or report is recorded first, so `reconcile` can enqueue again
what a crash or a lost queue leaves unfinished.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from common.languages import single_language
from common.storage_keys import dataset_folder
from core.creation import creation_id
from core.datasets.edit import apply_changes
from core.datasets.jobs import DatasetReportPayload, DatasetVersionPayload, PhonemeCoveragePayload
from core.datasets.options import (
    AugmentOptions,
    CropOptions,
    DatasetSource,
    NewRecording,
    Options,
    ReportOptions,
    SegmentChange,
    SplitOptions,
)
from core.errors import ErrorData, InvalidRequest, NotFound, QueueUnavailable, QuotaExceeded, error_message
from core.jobs.file_jobs import FileJobPayload
from core.jobs.job import Job, JobStatus, NewJob
from core.jobs.queue import AsyncQueue
from core.jobs.roles import FILES
from core.records import (
    DatasetLabels,
    DatasetRecord,
    DatasetStatus,
    DatasetVersionRecord,
    DatasetVersionRequest,
    RecordingSource,
    Records,
)
from core.storage import Storage

logger = logging.getLogger(__name__)

MAX_FILES: Final = 1000
_NO_REASON: Final[ErrorData] = {"code": "internal_error", "message": "Its job ended without a reason.", "hint": ""}
_CANCELLED: Final[ErrorData] = {"code": "cancelled", "message": "Its job was cancelled.", "hint": ""}
_OPTIONS: Final[dict[str, type[Options]]] = {
    "split": SplitOptions,
    "augment": AugmentOptions,
    "crop": CropOptions,
}


@dataclass(frozen=True, slots=True)
class DatasetJob:
    """A job that makes a version of a data set or a report on it, as recorded."""

    job_id: str
    dataset_id: str
    version: int
    kind: str
    """`import`, `add`, `split`, `augment`, `crop` or `report`."""
    status: DatasetStatus
    message: str
    error: ErrorData | None


class DatasetService:
    """Validates requests, records them and enqueues their jobs."""

    def __init__(self, records: Records, queue: AsyncQueue, storage: Storage | None = None) -> None:
        self.records = records
        self.queue = queue
        self.storage = storage

    async def create(
        self,
        name: str,
        files: Sequence[NewRecording],
        *,
        urls: Sequence[str] = (),
        language: str = "auto",
        priority: int = 5,
    ) -> DatasetRecord:
        """Create a data set of uploads (recordings, ZIPs) and of what its job downloads; NotFound for unknown files."""
        return await self._create(name, language, "import", await self._request_of(files, urls), priority)

    async def add(self, dataset_id: str, files: Sequence[NewRecording], *, priority: int = 5) -> DatasetVersionRecord:
        """Create a version with more uploads in it."""
        sources = await self._check_sources(files)
        return await self._begin_version(dataset_id, "add", {"sources": sources}, priority)

    async def edit_segments(
        self, dataset_id: str, changes: Sequence[SegmentChange], *, base: int | None = None
    ) -> DatasetVersionRecord:
        """Correct transcripts, leave segments out or take them back: one new version for all changes.

        Raises: Conflict when `base` is given and no longer the newest version, NotFound for an unknown segment.
        """
        return await self.records.dataset_versions.edit(
            dataset_id, lambda newest, contents: apply_changes(newest, contents, changes, base)
        )

    async def delete(self, dataset_id: str) -> None:
        """Delete the records and the audio, not the uploads; raise Conflict while it is being made or used."""
        await self.records.datasets.delete(dataset_id)
        await self._delete_audio(dataset_id)

    async def report(
        self, dataset_id: str, version: int | None = None, options: ReportOptions | None = None
    ) -> DatasetVersionRecord:
        """Start a report on a version (None: the newest that is ready)."""
        examined = await self.records.dataset_versions.get(dataset_id, version)
        values = (options or ReportOptions()).model_dump()
        begun = await self.records.dataset_reports.begin(dataset_id, examined.version, values)
        try:
            await self._enqueue_report(begun)
        except (QueueUnavailable, QuotaExceeded) as error:
            run = begun.report_run
            await self.records.dataset_reports.end(dataset_id, begun.version, run, None, error.as_dict())
            raise
        return begun

    async def coverage(self, dataset_id: str, version: int | None = None) -> Job:
        """Start to find the phonemes that the transcripts of a version lack; the job's result is a PhonemeCoverage.

        Raises InvalidRequest when the data set has no single language.
        """
        examined = await self.records.dataset_versions.get(dataset_id, version)
        dataset = await self.records.datasets.get(dataset_id)
        contents = await self.records.dataset_versions.contents(dataset_id, examined.version)
        languages = Counter(single_language(segment.language) for segment in contents.segments if segment.transcript)
        language = single_language(dataset.language) or next((name for name, _ in languages.most_common() if name), "")
        if not language:
            raise InvalidRequest(
                f"The language of the data set {dataset_id} is not known, so nothing can be said of its phonemes.",
                hint='Set it: PATCH /api/v1/datasets/{dataset_id} {"language": "en"}.',
            )
        payload = PhonemeCoveragePayload(dataset_id=dataset_id, version=examined.version, language=language)
        job = NewJob(
            role=FILES,
            payload=payload.stored(),
            job_id=creation_id("coverage"),
            priority=examined.priority,
            owner=dataset.owner or "",
        )
        return await self.queue.enqueue(job)

    async def split(
        self, source: DatasetSource, options: SplitOptions, *, priority: int = 5, labels: DatasetLabels | None = None
    ) -> DatasetJob:
        """Split segments into train, val and test."""
        return await self._derive("split", source, options, priority, labels)

    async def augment(
        self, source: DatasetSource, options: AugmentOptions, *, priority: int = 5, labels: DatasetLabels | None = None
    ) -> DatasetJob:
        """Add augmented copies of the segments that are trained on."""
        return await self._derive("augment", source, options, priority, labels)

    async def crop(
        self, source: DatasetSource, options: CropOptions, *, priority: int = 5, labels: DatasetLabels | None = None
    ) -> DatasetJob:
        """Keep a part of every recording."""
        return await self._derive("crop", source, options, priority, labels)

    async def get_job(self, job_id: str) -> DatasetJob:
        """Return a job of a data set; it is recorded for as long as the data set exists."""
        dataset_id, _, rest = job_id.partition(".")
        number, _, run = rest.partition(".report.")
        if not number.isdecimal() or len(number) > 9:
            raise NotFound(f"No job {job_id!r} of a data set.")
        version = await self.get_version(dataset_id, int(number))
        if job_id == version.job_id:
            return version_job(version)
        if run and job_id == version.report_job_id:
            return report_job(version)
        raise NotFound(f"No job {job_id!r} of a data set.")

    async def get_version(self, dataset_id: str, version: int | None = None) -> DatasetVersionRecord:
        """Return a version (None: the newest that is ready); record first how its job ended, if it just did."""
        record = await self.records.dataset_versions.get(dataset_id, version)
        if DatasetStatus.PREPARING not in (record.status, record.report_status):
            return record
        try:
            settled = await self._settle(record)
        except QueueUnavailable:
            return record
        return await self.records.dataset_versions.get(dataset_id, record.version) if settled else record

    async def reconcile(self) -> int:
        """Enqueue jobs that the queue lost and record the end of those that died; return how many of both."""
        repaired = 0
        for version in await self.records.dataset_versions.unfinished():
            repaired += await self._settle(version, enqueue=True)
        if repaired:
            logger.info("Repaired %d data sets.", repaired)
        return repaired

    async def _derive(
        self, kind: str, source: DatasetSource, options: Options, priority: int, labels: DatasetLabels | None
    ) -> DatasetJob:
        request: DatasetVersionRequest = {"options": options.model_dump(include=set(_OPTIONS[kind].model_fields))}
        if labels:
            request["labels"] = labels
        if source.dataset_id:
            return version_job(await self._begin_version(source.dataset_id, kind, request, priority))
        recordings = [NewRecording(file_id=file_id) for file_id in source.file_ids]
        request |= await self._request_of(recordings, source.urls)
        name = source.name or f"{kind} of {len(recordings) + len(source.urls)} files"
        dataset = await self._create(name, source.language, kind, request, priority)
        return version_job(await self.records.dataset_versions.get(dataset.id, 1))

    async def _create(
        self, name: str, language: str, made_by: str, request: DatasetVersionRequest, priority: int
    ) -> DatasetRecord:
        if not 1 <= len(name.strip()) <= 100:
            raise InvalidRequest("The name of a data set needs 1 to 100 characters.")
        _check_priority(priority)
        record = await self.records.datasets.create(creation_id("ds"), name, language, made_by, request, priority)
        try:
            await self._enqueue_version(await self.records.dataset_versions.get(record.id, 1))
        except (QueueUnavailable, QuotaExceeded):
            await self.records.datasets.discard(record.id)
            raise
        return record

    async def _begin_version(
        self, dataset_id: str, made_by: str, request: DatasetVersionRequest, priority: int
    ) -> DatasetVersionRecord:
        _check_priority(priority)
        begun = await self.records.dataset_versions.begin(dataset_id, made_by, request, priority)
        try:
            await self._enqueue_version(begun)
        except (QueueUnavailable, QuotaExceeded) as error:
            await self.records.dataset_versions.fail(dataset_id, begun.version, error.as_dict())
            raise
        return begun

    async def _request_of(self, files: Sequence[NewRecording], urls: Sequence[str]) -> DatasetVersionRequest:
        if urls and not files:
            return {"urls": list(urls)}
        request: DatasetVersionRequest = {"sources": await self._check_sources(files)}
        if urls:
            request["urls"] = list(urls)
        return request

    async def _check_sources(self, files: Sequence[NewRecording]) -> list[RecordingSource]:
        if not 1 <= len(files) <= MAX_FILES:
            raise InvalidRequest(f"{len(files)} files were named; a data set takes 1 to {MAX_FILES} at a time.")
        seen: set[str] = set()
        for file in files:
            if file.file_id in seen:
                raise InvalidRequest(f"The file {file.file_id} is named twice.", hint="Name each file once.")
            seen.add(file.file_id)
            await self.records.files.get(file.file_id)
        return [
            RecordingSource(
                file_id=file.file_id, transcript=file.transcript, language=file.language, speaker=file.speaker
            )
            for file in files
        ]

    async def _enqueue_version(self, version: DatasetVersionRecord) -> None:
        payload = DatasetVersionPayload(dataset_id=version.dataset_id, version=version.version)
        await self._enqueue(version, version.job_id, payload)

    async def _enqueue_report(self, version: DatasetVersionRecord) -> None:
        payload = DatasetReportPayload(dataset_id=version.dataset_id, version=version.version, run=version.report_run)
        await self._enqueue(version, version.report_job_id, payload)

    async def _enqueue(self, version: DatasetVersionRecord, job_id: str, payload: FileJobPayload) -> None:
        dataset = await self.records.datasets.get(version.dataset_id)
        job = NewJob(
            role=FILES,
            payload=payload.stored(),
            job_id=job_id,
            priority=version.priority,
            topic=version.dataset_id,
            owner=dataset.owner or "",
        )
        await self.queue.enqueue(job)

    async def _settle(self, version: DatasetVersionRecord, *, enqueue: bool = False) -> bool:
        """Record how the job of an unfinished version or report ended; return whether anything changed."""
        is_version_job = version.status is DatasetStatus.PREPARING
        job = await self.queue.job(version.job_id if is_version_job else version.report_job_id)
        if job is None:
            if enqueue:
                await (self._enqueue_version if is_version_job else self._enqueue_report)(version)
            return enqueue
        if job.status not in (JobStatus.DEAD, JobStatus.CANCELLED):
            return False
        error = _CANCELLED if job.status is JobStatus.CANCELLED else job.error or _NO_REASON
        if is_version_job:
            await self.records.dataset_versions.fail(version.dataset_id, version.version, error)
            if version.parent is None:  # no version uses the audio that its worker stored
                await self._delete_audio(version.dataset_id)
        else:
            run = version.report_run
            await self.records.dataset_reports.end(version.dataset_id, version.version, run, None, error)
        return True

    async def _delete_audio(self, dataset_id: str) -> None:
        if self.storage is not None:
            await asyncio.to_thread(self.storage.delete_folder, dataset_folder(dataset_id))


def version_job(version: DatasetVersionRecord) -> DatasetJob:
    """Return the job that makes a version."""
    return DatasetJob(
        version.job_id,
        version.dataset_id,
        version.version,
        version.made_by,
        version.status,
        version.message,
        version.error,
    )


def report_job(version: DatasetVersionRecord) -> DatasetJob:
    """Return the job of a version's newest report."""
    status = version.report_status or DatasetStatus.PREPARING
    message = {
        DatasetStatus.PREPARING: "The report is being made.",
        DatasetStatus.READY: "",
        DatasetStatus.FAILED: error_message(version.report_error),
    }[status]
    return DatasetJob(
        version.report_job_id, version.dataset_id, version.version, "report", status, message, version.report_error
    )


def _check_priority(priority: int) -> None:
    if not 1 <= priority <= 10:
        raise InvalidRequest(f"priority is {priority}; it goes from 1 (last) to 10 (first).")
