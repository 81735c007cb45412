"""Queries that several repositories of data sets share."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.progress_messages import progress_message
from core.errors import Conflict, NotFound
from core.records.models.datasets import DatasetRecord, DatasetStatus, DatasetVersionRecord, DatasetVersionRequest
from core.records.queries import as_values, fetch_one
from core.records.tables import dataset_versions, datasets


async def fetch_dataset(connection: AsyncConnection, dataset_id: str, *, lock: bool = False) -> DatasetRecord:
    """Return a data set or raise NotFound; `lock` keeps others from changing it until the transaction ends."""
    record = await fetch_one(connection, datasets, DatasetRecord, datasets.c.id == dataset_id, lock=lock)
    if record is None:
        raise NotFound(f"No data set {dataset_id!r}.", hint="POST /api/v1/datasets makes one.")
    return record


async def fetch_version(connection: AsyncConnection, dataset: DatasetRecord, version: int) -> DatasetVersionRecord:
    """Return a version of a data set; raise NotFound, which says which versions exist."""
    table = dataset_versions
    this_row = (table.c.dataset_id == dataset.id, table.c.version == version)
    record = await fetch_one(connection, table, DatasetVersionRecord, *this_row)
    if record is None:
        raise NotFound(
            f"The data set {dataset.id} has no version {version}.", hint=f"Its versions go from 1 to {dataset.latest}."
        )
    return record


async def write_dataset(connection: AsyncConnection, record: DatasetRecord) -> None:
    """Update the row of a data set."""
    await connection.execute(update(datasets).where(datasets.c.id == record.id).values(as_values(record)))


async def write_version(connection: AsyncConnection, record: DatasetVersionRecord) -> None:
    """Update the row of a version."""
    table = dataset_versions
    this_row = (table.c.dataset_id == record.dataset_id, table.c.version == record.version)
    await connection.execute(update(table).where(*this_row).values(as_values(record)))


def new_version(
    dataset: DatasetRecord,
    version: int,
    made_by: str,
    parent: int | None,
    request: DatasetVersionRequest,
    priority: int,
    now: float,
) -> DatasetVersionRecord:
    """Return the record of a version that a job has to make."""
    return DatasetVersionRecord(
        dataset_id=dataset.id,
        version=version,
        status=DatasetStatus.PREPARING,
        made_by=made_by,
        parent=parent,
        request=request,
        priority=priority,
        message=progress_message("waiting"),
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


def check_not_preparing(dataset: DatasetRecord) -> None:
    """Raise Conflict while a version of the data set is being made."""
    if dataset.status is DatasetStatus.PREPARING:
        raise Conflict(
            f"Version {dataset.latest} of the data set {dataset.id} is being made.",
            hint=f"Wait for it, or stop it: DELETE /api/v1/jobs/{dataset.id}.{dataset.latest}",
        )
