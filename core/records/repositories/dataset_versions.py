"""Versions of data sets, and the recordings and segments of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson
from sqlalchemy import insert, or_

from common.json_types import JsonObject
from core.creation import began_earlier_at
from core.errors import Conflict, ErrorData, NotFound
from core.records.models.datasets import (
    DatasetContents,
    DatasetRecord,
    DatasetReport,
    DatasetStatus,
    DatasetVersionRecord,
    DatasetVersionRequest,
    SegmentRecord,
    SkippedFile,
)
from core.records.models.page import Page
from core.records.queries import as_values, fetch_all
from core.records.repositories.dataset_contents import page_segments, read_contents, write_contents
from core.records.repositories.dataset_queries import (
    check_not_preparing,
    fetch_dataset,
    fetch_version,
    new_version,
    write_dataset,
    write_version,
)
from core.records.repositories.repository import Repository
from core.records.tables import dataset_versions


class DatasetVersionRepository(Repository):
    """Records of versions of data sets."""

    async def get(self, dataset_id: str, version: int | None = None) -> DatasetVersionRecord:
        """Return a version; by default the newest that is ready, or the first while none is."""
        async with self._database.read() as connection:
            dataset = await fetch_dataset(connection, dataset_id)
            return await fetch_version(connection, dataset, version or dataset.version or dataset.latest)

    async def page(self, dataset_id: str, limit: int = 50, offset: int = 0) -> Page[DatasetVersionRecord]:
        """Return a page of versions, newest first."""
        table = dataset_versions
        async with self._database.read() as connection:
            dataset = await fetch_dataset(connection, dataset_id)
            newest, oldest = max(0, dataset.latest - offset), max(0, dataset.latest - offset - limit)
            versions = await fetch_all(
                connection,
                table,
                DatasetVersionRecord,
                table.c.dataset_id == dataset_id,
                table.c.version > oldest,
                table.c.version <= newest,
                order_by=table.c.version,
            )
        return Page(versions[::-1], dataset.latest)

    async def unfinished(self, limit: int = 1000) -> list[DatasetVersionRecord]:
        """Return versions that should have a job in the queue, for themselves or for their report."""
        table = dataset_versions
        preparing = or_(table.c.status == DatasetStatus.PREPARING, table.c.report_status == DatasetStatus.PREPARING)
        async with self._database.read() as connection:
            return await fetch_all(connection, table, DatasetVersionRecord, preparing, limit=limit)

    async def begin(
        self, dataset_id: str, made_by: str, request: DatasetVersionRequest, priority: int
    ) -> DatasetVersionRecord:
        """Insert a version after the newest, for a job to make; raise Conflict while another one is being made."""
        async with self._database.write() as connection:
            dataset = await fetch_dataset(connection, dataset_id, lock=True)
            newest = await fetch_version(connection, dataset, dataset.latest)
            if _is_repeated(newest, made_by, request):
                return newest
            check_not_preparing(dataset)
            number, parent, now = dataset.latest + 1, dataset.version or None, self._database.now()
            version = new_version(dataset, number, made_by, parent, request, priority, now)
            await connection.execute(insert(dataset_versions).values(as_values(version)))
            status = DatasetStatus.PREPARING
            await write_dataset(connection, replace(dataset, status=status, latest=number, updated_at=now))
        return version

    async def edit(
        self,
        dataset_id: str,
        change: Callable[[DatasetVersionRecord, DatasetContents], tuple[DatasetContents, DatasetReport | None]],
    ) -> DatasetVersionRecord:
        """Write a new version at once: `change` receives the newest and its contents, and returns contents and report.

        When the contents did not change, write nothing and return the newest version.
        """
        async with self._database.write() as connection:
            dataset = await fetch_dataset(connection, dataset_id, lock=True)
            check_not_preparing(dataset)
            if not dataset.version:
                raise Conflict(f"The data set {dataset_id} could not be made, so there is nothing to change.")
            parent = await fetch_version(connection, dataset, dataset.version)
            before = await read_contents(connection, dataset_id, parent.version)
            after, report = change(parent, before)
            if after == before:
                return parent
            number, now = dataset.latest + 1, self._database.now()
            version = new_version(dataset, number, "edit", parent.version, {}, parent.priority, now)
            version = _finished(version, after, [], "Edited.", now, report)
            await connection.execute(insert(dataset_versions).values(as_values(version)))
            await write_contents(connection, dataset_id, version.version, before, after)
            await write_dataset(connection, _with_newest(dataset, version))
        return version

    async def finish(
        self,
        dataset_id: str,
        version: int,
        after: DatasetContents,
        skipped: list[SkippedFile],
        message: str,
        report: DatasetReport | None = None,
    ) -> DatasetVersionRecord:
        """Write what a version's job made; harmless when repeated. Raise Conflict when the version has failed.

        `report`: what stays true of its parent's.
        """
        async with self._database.write() as connection:
            dataset = await fetch_dataset(connection, dataset_id, lock=True)
            current = await fetch_version(connection, dataset, version)
            if current.status is DatasetStatus.READY:
                return current
            if current.status is DatasetStatus.FAILED:
                raise Conflict(f"Version {version} of {dataset_id} was given up.")
            before = DatasetContents([], [])
            if current.parent:
                before = await read_contents(connection, dataset_id, current.parent)
            finished = _finished(current, after, skipped, message, self._database.now(), report)
            await write_contents(connection, dataset_id, version, before, after)
            await write_version(connection, finished)
            await write_dataset(connection, _with_newest(dataset, finished))
        return finished

    async def restart(self, dataset_id: str, version: int) -> DatasetVersionRecord:
        """Restart a failed version whose dead letter was replayed; raise Conflict when there is a later one."""
        async with self._database.write() as connection:
            dataset = await fetch_dataset(connection, dataset_id, lock=True)
            current = await fetch_version(connection, dataset, version)
            if current.status is not DatasetStatus.FAILED or dataset.latest != version:
                raise Conflict(
                    f"Version {version} of {dataset_id} was given up, and {dataset.latest} is the newest.",
                    hint="Ask for the change again.",
                )
            status = DatasetStatus.PREPARING
            restarted = replace(current, status=status, error=None, message="Begun again.", completed_at=None)
            await write_version(connection, restarted)
            await write_dataset(connection, replace(dataset, status=status, updated_at=self._database.now()))
        return restarted

    async def fail(self, dataset_id: str, version: int, error: ErrorData) -> None:
        """Mark a version failed for good, unless it has ended; older versions stay."""
        async with self._database.write() as connection:
            dataset = await fetch_dataset(connection, dataset_id, lock=True)
            current = await fetch_version(connection, dataset, version)
            if current.status is not DatasetStatus.PREPARING:
                return
            now, message = self._database.now(), str(error.get("message", ""))
            failed = replace(current, status=DatasetStatus.FAILED, error=error, message=message, completed_at=now)
            await write_version(connection, failed)
            status = DatasetStatus.READY if dataset.version else DatasetStatus.FAILED
            await write_dataset(connection, replace(dataset, status=status, updated_at=now))

    async def contents(self, dataset_id: str, version: int) -> DatasetContents:
        """Return all recordings and segments of a version, in order."""
        async with self._database.read() as connection:
            return await read_contents(connection, dataset_id, version)

    async def page_segments(
        self, dataset_id: str, version: int, limit: int = 50, offset: int = 0, numbers: Sequence[int] | None = None
    ) -> Page[SegmentRecord]:
        """Return a page of segments in order; with `numbers`, only those."""
        async with self._database.read() as connection:
            return await page_segments(connection, dataset_id, version, limit, offset, numbers)

    async def get_segment(self, dataset_id: str, version: int, number: int) -> SegmentRecord:
        """Return one segment of a version; raise NotFound for an unknown number."""
        page = await self.page_segments(dataset_id, version, 1, 0, [number])
        if not page.items:
            raise NotFound(
                f"Version {version} of {dataset_id} has no segment {number}.",
                hint=f"GET /api/v1/datasets/{dataset_id}/segments lists them.",
            )
        return page.items[0]


def _is_repeated(newest: DatasetVersionRecord, made_by: str, request: DatasetVersionRequest) -> bool:
    """Return whether the present request, when it came before, began the newest version."""
    began = began_earlier_at()
    begun_since = began is not None and newest.created_at >= began and newest.status is not DatasetStatus.FAILED
    stored: JsonObject = orjson.loads(orjson.dumps(request))  # without tuples
    return begun_since and newest.made_by == made_by and {**newest.request} == stored


def _finished(
    version: DatasetVersionRecord,
    contents: DatasetContents,
    skipped: list[SkippedFile],
    message: str,
    now: float,
    report: DatasetReport | None,
) -> DatasetVersionRecord:
    finished = replace(
        version,
        status=DatasetStatus.READY,
        message=message,
        skipped=skipped,
        recordings=len(contents.recordings),
        segments=len(contents.segments),
        seconds=contents.seconds,
        completed_at=now,
    )
    return finished if report is None else replace(finished, report=report, report_status=DatasetStatus.READY)


def _with_newest(dataset: DatasetRecord, version: DatasetVersionRecord) -> DatasetRecord:
    return replace(
        dataset,
        status=DatasetStatus.READY,
        version=version.version,
        latest=max(dataset.latest, version.version),
        updated_at=version.completed_at or dataset.updated_at,
    )
