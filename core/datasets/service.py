"""The one way to data sets, for every front door: make, mend, report, split, augment, crop.

What takes time is a job of the role `files`. Its version or report is written into the records first, so what a
crash or a lost queue leaves unfinished is enqueued again by `reconcile`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.datasets.edit import apply_changes
from core.datasets.jobs import ReportRequest, VersionRequest
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
from core.errors import ErrorData, InvalidRequest, NotFound, QueueUnavailable, error_message
from core.ids import new_id
from core.jobs.file_jobs import FileJobPayload
from core.jobs.job import Job, JobStatus, NewJob
from core.jobs.queue import AsyncQueue
from core.jobs.roles import FILES
from core.records import DatasetRecord, DatasetStatus, DatasetVersionRecord, Records
from core.storage import Storage

logger = logging.getLogger(__name__)

MAX_FILES: Final = 1000
_NO_REASON: Final[ErrorData] = {"code": "internal_error", "message": "Its job ended without a reason.", "hint": ""}
_CANCELLED: Final[ErrorData] = {"code": "cancelled", "message": "Its job was cancelled.", "hint": ""}


@dataclass(frozen=True, slots=True)
class Work:
    """A job that makes a version of a data set or a report on it, as the records know it."""

    job_id: str
    dataset_id: str
    version: int
    kind: str
    """`import`, `add`, `split`, `augment`, `crop` or `report`."""
    status: DatasetStatus
    message: str
    error: ErrorData | None


class DatasetService:
    """Checks what it is given, writes it down and enqueues the job."""

    def __init__(self, records: Records, queue: AsyncQueue, storage: Storage | None = None) -> None:
        self.records = records
        self.queue = queue
        self.storage = storage

    async def create(
        self, name: str, files: Sequence[NewRecording], *, language: str = "auto", priority: int = 5
    ) -> DatasetRecord:
        """A data set of uploads: recordings, ZIPs. NotFound names a file that is not there."""
        return await self._create(name, language, "import", await self._sources(files), priority)

    async def add(self, dataset_id: str, files: Sequence[NewRecording], *, priority: int = 5) -> DatasetVersionRecord:
        """A new version with more uploads in it."""
        request = await self._sources(files)
        return await self._begin(dataset_id, "add", request, priority)

    async def mend(
        self, dataset_id: str, changes: Sequence[SegmentChange], *, base: int | None = None
    ) -> DatasetVersionRecord:
        """Change transcripts, leave segments out or take them back: one new version for all changes.

        With `base`, Conflict when that is no longer the newest version. NotFound names an unknown segment.
        """
        return await self.records.dataset_versions.edit(
            dataset_id, lambda newest, contents: apply_changes(newest, contents, changes, base)
        )

    async def delete(self, dataset_id: str) -> None:
        """The records and the sounds; uploads stay. Conflict while it is being made or used."""
        await self.records.datasets.delete(dataset_id)
        if self.storage is not None:
            await asyncio.to_thread(self.storage.delete_folder, f"datasets/{dataset_id}")

    async def report(
        self, dataset_id: str, version: int | None = None, options: ReportOptions | None = None
    ) -> DatasetVersionRecord:
        """Have a version looked at and listened to (the newest one, when none is named)."""
        found = await self.records.dataset_versions.get(dataset_id, version)
        asked = (options or ReportOptions()).model_dump()
        begun = await self.records.dataset_reports.begin(dataset_id, found.version, asked)
        try:
            await self._enqueue_report(begun)
        except QueueUnavailable as error:
            run = begun.report_run
            await self.records.dataset_reports.end(dataset_id, begun.version, run, None, error.as_dict())
            raise
        return begun

    async def split(self, source: DatasetSource, options: SplitOptions, *, priority: int = 5) -> Work:
        """Deal segments out to train, val and test."""
        return await self._derive("split", source, options, priority)

    async def augment(self, source: DatasetSource, options: AugmentOptions, *, priority: int = 5) -> Work:
        """Add changed copies of what is trained on."""
        return await self._derive("augment", source, options, priority)

    async def crop(self, source: DatasetSource, options: CropOptions, *, priority: int = 5) -> Work:
        """Keep a part of every recording."""
        return await self._derive("crop", source, options, priority)

    async def work(self, job_id: str) -> Work:
        """What a job of a data set has come to; the records know it for as long as the data set is there."""
        dataset_id, _, rest = job_id.partition(".")
        number, _, run = rest.partition(".report.")
        if not number.isdecimal() or len(number) > 9:
            raise NotFound(f"No job {job_id!r} of a data set.")
        version = await self.look(dataset_id, int(number))
        if job_id == version.job_id:
            return version_work(version)
        if run and job_id == version.report_job_id:
            return report_work(version)
        raise NotFound(f"No job {job_id!r} of a data set.")

    async def look(self, dataset_id: str, version: int | None = None) -> DatasetVersionRecord:
        """A version (the newest that can be read) as it is now, also when its job died a moment ago."""
        found = await self.records.dataset_versions.get(dataset_id, version)
        if DatasetStatus.PREPARING not in (found.status, found.report_status):
            return found
        try:
            settled = await self._settle(found)
        except QueueUnavailable:
            return found
        return await self.records.dataset_versions.get(dataset_id, found.version) if settled else found

    async def reconcile(self) -> int:
        """Enqueue again what the queue forgot and end what died there; how many. The supervisor calls it."""
        mended = 0
        for version in await self.records.dataset_versions.unfinished():
            mended += await self._settle(version, enqueue=True)
        if mended:
            logger.info("Mended %d data sets.", mended)
        return mended

    async def _derive(self, kind: str, source: DatasetSource, options: Options, priority: int) -> Work:
        own = options.model_dump(include=set(_OPTIONS[kind].model_fields))
        if source.dataset_id:
            return version_work(await self._begin(source.dataset_id, kind, {"options": own}, priority))
        request = await self._sources([NewRecording(file_id=one) for one in source.file_ids])
        name = source.name or f"{kind} of {len(source.file_ids)} files"
        made = await self._create(name, source.language, kind, {**request, "options": own}, priority)
        return version_work(await self.records.dataset_versions.get(made.id, 1))

    async def _create(
        self, name: str, language: str, made_by: str, request: dict[str, Any], priority: int
    ) -> DatasetRecord:
        _check(name, priority)
        record = await self.records.datasets.create(new_id("ds"), name, language, made_by, request, priority)
        try:
            await self._enqueue_version(await self.records.dataset_versions.get(record.id, 1))
        except QueueUnavailable:
            await self.records.datasets.discard(record.id)
            raise
        return record

    async def _begin(
        self, dataset_id: str, made_by: str, request: dict[str, Any], priority: int
    ) -> DatasetVersionRecord:
        _check("-", priority)
        begun = await self.records.dataset_versions.begin(dataset_id, made_by, request, priority)
        try:
            await self._enqueue_version(begun)
        except QueueUnavailable as error:
            await self.records.dataset_versions.fail(dataset_id, begun.version, error.as_dict())
            raise
        return begun

    async def _sources(self, files: Sequence[NewRecording]) -> dict[str, Any]:
        if not 1 <= len(files) <= MAX_FILES:
            raise InvalidRequest(f"{len(files)} files were named; a data set takes 1 to {MAX_FILES} at a time.")
        seen: set[str] = set()
        for one in files:
            if one.file_id in seen:
                raise InvalidRequest(f"The file {one.file_id} is named twice.", hint="Name each file once.")
            seen.add(one.file_id)
            await self.records.files.get(one.file_id)
        return {"sources": [one.model_dump() for one in files]}

    async def _enqueue_version(self, version: DatasetVersionRecord) -> Job:
        request = VersionRequest(dataset_id=version.dataset_id, version=version.version)
        return await self._enqueue(version, version.job_id, request)

    async def _enqueue_report(self, version: DatasetVersionRecord) -> Job:
        request = ReportRequest(dataset_id=version.dataset_id, version=version.version, run=version.report_run)
        return await self._enqueue(version, version.report_job_id, request)

    async def _enqueue(self, version: DatasetVersionRecord, job_id: str, request: FileJobPayload) -> Job:
        return await self.queue.enqueue(
            NewJob(FILES, request.stored(), job_id=job_id, priority=version.priority, topic=version.dataset_id)
        )

    async def _settle(self, version: DatasetVersionRecord, *, enqueue: bool = False) -> bool:
        """Draw the conclusion from the job of an unfinished version or report; whether there was one to draw."""
        makes_version = version.status is DatasetStatus.PREPARING
        job = await self.queue.job(version.job_id if makes_version else version.report_job_id)
        if job is None:
            if enqueue:
                await (self._enqueue_version if makes_version else self._enqueue_report)(version)
            return enqueue
        if job.status not in (JobStatus.DEAD, JobStatus.CANCELLED):
            return False
        error = _CANCELLED if job.status is JobStatus.CANCELLED else job.error or _NO_REASON
        if makes_version:
            await self.records.dataset_versions.fail(version.dataset_id, version.version, error)
            if version.parent is None and self.storage is not None:  # what its worker kept belongs to nothing
                await asyncio.to_thread(self.storage.delete_folder, f"datasets/{version.dataset_id}")
        else:
            run = version.report_run
            await self.records.dataset_reports.end(version.dataset_id, version.version, run, None, error)
        return True


def version_work(version: DatasetVersionRecord) -> Work:
    """The job that makes a version."""
    return Work(
        version.job_id,
        version.dataset_id,
        version.version,
        version.made_by,
        version.status,
        version.message,
        version.error,
    )


def report_work(version: DatasetVersionRecord) -> Work:
    """The job of a version's newest report."""
    status = version.report_status or DatasetStatus.PREPARING
    message = {
        DatasetStatus.PREPARING: "The report is being made.",
        DatasetStatus.READY: str((version.report or {}).get("message", "")),
        DatasetStatus.FAILED: error_message(version.report_error),
    }[status]
    return Work(
        version.report_job_id, version.dataset_id, version.version, "report", status, message, version.report_error
    )


_OPTIONS: Final[dict[str, type[Options]]] = {
    "split": SplitOptions,
    "augment": AugmentOptions,
    "crop": CropOptions,
}


def _check(name: str, priority: int) -> None:
    if not 1 <= len(name.strip()) <= 100:
        raise InvalidRequest("The name of a data set needs 1 to 100 characters.")
    if not 1 <= priority <= 10:
        raise InvalidRequest(f"priority is {priority}; it goes from 1 (last) to 10 (first).")
