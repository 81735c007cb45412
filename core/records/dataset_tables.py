"""One data set and one version of it: found, and written back."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import NotFound
from core.records.database import as_values, fetch_one
from core.records.dataset_rows import DatasetRecord, DatasetVersionRecord
from core.records.models import dataset_versions, datasets


async def find_dataset(connection: AsyncConnection, dataset_id: str, *, lock: bool = False) -> DatasetRecord:
    """NotFound for none; `lock` keeps others from changing it until the transaction ends."""
    record = await fetch_one(connection, datasets, DatasetRecord, datasets.c.id == dataset_id, lock=lock)
    if record is None:
        raise NotFound(f"No data set {dataset_id!r}.", hint="POST /api/v1/datasets makes one.")
    return record


async def find_version(connection: AsyncConnection, record: DatasetRecord, version: int) -> DatasetVersionRecord:
    """NotFound says which versions there are."""
    table = dataset_versions
    here = (table.c.dataset_id == record.id, table.c.version == version)
    found = await fetch_one(connection, table, DatasetVersionRecord, *here)
    if found is None:
        raise NotFound(
            f"The data set {record.id} has no version {version}.", hint=f"Its versions go from 1 to {record.latest}."
        )
    return found


async def write_dataset(connection: AsyncConnection, record: DatasetRecord) -> None:
    await connection.execute(update(datasets).where(datasets.c.id == record.id).values(as_values(record)))


async def write_version(connection: AsyncConnection, record: DatasetVersionRecord) -> None:
    table = dataset_versions
    here = (table.c.dataset_id == record.dataset_id, table.c.version == record.version)
    await connection.execute(update(table).where(*here).values(as_values(record)))
