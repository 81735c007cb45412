"""Records of data sets, their versions and what each holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import Conflict, NotFound
from core.records.database import as_values, fetch_all, fetch_page
from core.records.dataset_contents import page_segments, read_contents, write_contents
from core.records.dataset_reports import DatasetReportRecords
from core.records.dataset_rows import (
    DatasetContents,
    DatasetRecord,
    DatasetStatus,
    DatasetVersionRecord,
    SegmentRow,
)
from core.records.dataset_tables import find_dataset, find_version, write_dataset, write_version
from core.records.models import dataset_versions, datasets, experiments
from core.records.rows import ExperimentStatus, Page

EMPTY = DatasetContents([], [])


class DatasetRecords(DatasetReportRecords):
    """Create, find, change and forget data sets; the sounds are the storage's business."""

    async def create_dataset(
        self, dataset_id: str, name: str, language: str, made_by: str, request: dict[str, Any], priority: int
    ) -> DatasetRecord:
        """With its first version, which a job has to make."""
        now = self._clock()
        status = DatasetStatus.PREPARING
        record = DatasetRecord(dataset_id, name, language, status, version=0, latest=1, created_at=now, updated_at=now)
        first = _new_version(record, 1, made_by, None, request, priority, now)
        async with self._database.write() as connection:
            await connection.execute(insert(datasets).values(as_values(record)))
            await connection.execute(insert(dataset_versions).values(as_values(first)))
        return record

    async def get_dataset(self, dataset_id: str) -> DatasetRecord:
        async with self._database.read() as connection:
            return await find_dataset(connection, dataset_id)

    async def list_datasets(
        self, limit: int = 50, offset: int = 0, status: DatasetStatus | None = None
    ) -> Page[DatasetRecord]:
        where = [] if status is None else [datasets.c.status == status]
        async with self._database.read() as connection:
            return await fetch_page(connection, datasets, DatasetRecord, limit, offset, *where)

    async def update_dataset(self, dataset_id: str, **values: Any) -> DatasetRecord:
        """Change its name or language."""
        async with self._database.write() as connection:
            record = await find_dataset(connection, dataset_id, lock=True)
            changed = replace(record, **values, updated_at=self._clock())
            await write_dataset(connection, changed)
        return changed

    async def delete_dataset(self, dataset_id: str) -> None:
        """All versions. Conflict while one is being made, or while an experiment that runs takes from it."""
        async with self._database.write() as connection:
            record = await find_dataset(connection, dataset_id, lock=True)
            _not_while_preparing(record)
            users = await _users(connection, dataset_id)
            if users:
                raise Conflict(
                    f"The data set {dataset_id} is in use by {', '.join(users)}.",
                    hint="Cancel that first, or let it finish.",
                )
            await connection.execute(delete(datasets).where(datasets.c.id == dataset_id))

    async def forget_new_dataset(self, dataset_id: str) -> None:
        """Undo `create_dataset`: nobody took its job."""
        async with self._database.write() as connection:
            await connection.execute(delete(datasets).where(datasets.c.id == dataset_id))

    async def get_dataset_version(self, dataset_id: str, version: int | None = None) -> DatasetVersionRecord:
        """One version; without a number the newest that can be read, or the first while there is none."""
        async with self._database.read() as connection:
            record = await find_dataset(connection, dataset_id)
            return await find_version(connection, record, version or record.version or record.latest)

    async def list_dataset_versions(
        self, dataset_id: str, limit: int = 50, offset: int = 0
    ) -> Page[DatasetVersionRecord]:
        """Newest first."""
        table = dataset_versions
        async with self._database.read() as connection:
            record = await find_dataset(connection, dataset_id)
            newest, oldest = max(0, record.latest - offset), max(0, record.latest - offset - limit)
            found = await fetch_all(
                connection,
                table,
                DatasetVersionRecord,
                table.c.dataset_id == dataset_id,
                table.c.version > oldest,
                table.c.version <= newest,
                order_by=table.c.version,
            )
        return Page(found[::-1], record.latest)

    async def begin_dataset_version(
        self, dataset_id: str, made_by: str, request: dict[str, Any], priority: int
    ) -> DatasetVersionRecord:
        """A new version on top of the newest, for a job to make. Conflict while another is being made."""
        async with self._database.write() as connection:
            record = await find_dataset(connection, dataset_id, lock=True)
            _not_while_preparing(record)
            made = _new_version(
                record, record.latest + 1, made_by, record.version or None, request, priority, self._clock()
            )
            await connection.execute(insert(dataset_versions).values(as_values(made)))
            changed = replace(record, status=DatasetStatus.PREPARING, latest=made.version, updated_at=made.created_at)
            await write_dataset(connection, changed)
        return made

    async def edit_dataset(
        self, dataset_id: str, change: Callable[[DatasetVersionRecord, DatasetContents], tuple[DatasetContents, Any]]
    ) -> DatasetVersionRecord:
        """A new version at once: `change` gets the newest and its contents, answers the new ones and their report.

        Nothing is written when the contents stay as they were: the version is the old one then.
        """
        async with self._database.write() as connection:
            record = await find_dataset(connection, dataset_id, lock=True)
            _not_while_preparing(record)
            if not record.version:
                raise Conflict(f"The data set {dataset_id} could not be made, so there is nothing to change.")
            parent = await find_version(connection, record, record.version)
            before = await read_contents(connection, dataset_id, parent.version)
            after, report = change(parent, before)
            if after == before:
                return parent
            made = _new_version(record, record.latest + 1, "edit", parent.version, {}, parent.priority, self._clock())
            made = _with_report(_finished(made, after, [], "Edited.", self._clock()), report)
            await connection.execute(insert(dataset_versions).values(as_values(made)))
            await write_contents(connection, dataset_id, made.version, before, after)
            await write_dataset(connection, _with_newest(record, made))
        return made

    async def finish_dataset_version(
        self,
        dataset_id: str,
        version: int,
        after: DatasetContents,
        skipped: list[dict[str, str]],
        message: str,
        report: dict[str, Any] | None = None,
    ) -> DatasetVersionRecord:
        """Its job is done; a second time is harmless. Conflict when someone called the version off.

        `report`: what stays true of its parent's.
        """
        async with self._database.write() as connection:
            record = await find_dataset(connection, dataset_id, lock=True)
            found = await find_version(connection, record, version)
            if found.status is DatasetStatus.READY:
                return found
            if found.status is DatasetStatus.FAILED:
                raise Conflict(f"Version {version} of {dataset_id} was given up.")
            before = await read_contents(connection, dataset_id, found.parent) if found.parent else EMPTY
            made = _with_report(_finished(found, after, skipped, message, self._clock()), report)
            await write_contents(connection, dataset_id, version, before, after)
            await write_version(connection, made)
            await write_dataset(connection, _with_newest(record, made))
        return made

    async def restart_dataset_version(self, dataset_id: str, version: int) -> DatasetVersionRecord:
        """Make a failed version after all: its dead letter was replayed. Conflict when a later one was begun since."""
        async with self._database.write() as connection:
            record = await find_dataset(connection, dataset_id, lock=True)
            found = await find_version(connection, record, version)
            if found.status is not DatasetStatus.FAILED or record.latest != version:
                raise Conflict(
                    f"Version {version} of {dataset_id} was given up, and {record.latest} is the newest.",
                    hint="Ask for the change again.",
                )
            status = DatasetStatus.PREPARING
            begun = replace(found, status=status, error=None, message="Begun again.", completed_at=None)
            await write_version(connection, begun)
            await write_dataset(connection, replace(record, status=status, updated_at=self._clock()))
        return begun

    async def fail_dataset_version(self, dataset_id: str, version: int, error: dict[str, Any]) -> None:
        """Its job failed for good; older versions stay. A version that has ended stays as it is."""
        async with self._database.write() as connection:
            record = await find_dataset(connection, dataset_id, lock=True)
            found = await find_version(connection, record, version)
            if found.status is not DatasetStatus.PREPARING:
                return
            now, message = self._clock(), str(error.get("message", ""))
            failed = replace(found, status=DatasetStatus.FAILED, error=error, message=message, completed_at=now)
            await write_version(connection, failed)
            status = DatasetStatus.READY if record.version else DatasetStatus.FAILED
            await write_dataset(connection, replace(record, status=status, updated_at=now))

    async def dataset_contents(self, dataset_id: str, version: int) -> DatasetContents:
        """All that a version holds, in order."""
        async with self._database.read() as connection:
            return await read_contents(connection, dataset_id, version)

    async def list_segments(
        self, dataset_id: str, version: int, limit: int = 50, offset: int = 0, numbers: Sequence[int] | None = None
    ) -> Page[SegmentRow]:
        """Segments of a version in order; with `numbers`, those alone."""
        async with self._database.read() as connection:
            return await page_segments(connection, dataset_id, version, limit, offset, numbers)

    async def get_segment(self, dataset_id: str, version: int, number: int) -> SegmentRow:
        page = await self.list_segments(dataset_id, version, 1, 0, [number])
        if not page.items:
            raise NotFound(
                f"Version {version} of {dataset_id} has no segment {number}.",
                hint=f"GET /api/v1/datasets/{dataset_id}/segments lists them.",
            )
        return page.items[0]


def _new_version(
    record: DatasetRecord,
    version: int,
    made_by: str,
    parent: int | None,
    request: dict[str, Any],
    priority: int,
    now: float,
) -> DatasetVersionRecord:
    return DatasetVersionRecord(
        dataset_id=record.id,
        version=version,
        status=DatasetStatus.PREPARING,
        made_by=made_by,
        parent=parent,
        request=request,
        priority=priority,
        message="Waiting for a worker.",
        error=None,
        skipped=[],
        recordings=0,
        segments=0,
        seconds=0.0,
        report_status=None,
        report_run=0,
        report_options={},
        report=None,
        report_error=None,
        created_at=now,
        completed_at=None,
    )


def _finished(
    version: DatasetVersionRecord, contents: DatasetContents, skipped: list[dict[str, str]], message: str, now: float
) -> DatasetVersionRecord:
    return replace(
        version,
        status=DatasetStatus.READY,
        message=message,
        skipped=skipped,
        recordings=len(contents.recordings),
        segments=len(contents.segments),
        seconds=contents.seconds,
        completed_at=now,
    )


def _with_report(version: DatasetVersionRecord, report: dict[str, Any] | None) -> DatasetVersionRecord:
    return version if report is None else replace(version, report=report, report_status=DatasetStatus.READY)


def _with_newest(record: DatasetRecord, made: DatasetVersionRecord) -> DatasetRecord:
    return replace(
        record,
        status=DatasetStatus.READY,
        version=made.version,
        latest=max(record.latest, made.version),
        updated_at=made.completed_at or record.updated_at,
    )


def _not_while_preparing(record: DatasetRecord) -> None:
    if record.status is DatasetStatus.PREPARING:
        raise Conflict(
            f"Version {record.latest} of the data set {record.id} is being made.",
            hint=f"Wait for it, or stop it: DELETE /api/v1/jobs/{record.id}.{record.latest}",
        )


async def _users(connection: AsyncConnection, dataset_id: str) -> list[str]:
    """Experiments under way that take from it."""
    query = select(experiments.c.id).where(
        experiments.c.dataset_id == dataset_id, experiments.c.status == ExperimentStatus.RUNNING
    )
    return list((await connection.execute(query.limit(5))).scalars().all())
