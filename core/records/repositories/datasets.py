"""Data sets. Their audio is in the storage."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

from sqlalchemy import delete, insert, select

from core.access import current_caller
from core.errors import Conflict
from core.records.models.datasets import DatasetChanges, DatasetRecord, DatasetStatus, DatasetVersionRequest
from core.records.models.experiments import ExperimentStatus
from core.records.models.page import Page
from core.records.queries import as_values, fetch_page, find_created
from core.records.repositories.dataset_queries import check_not_preparing, fetch_dataset, new_version, write_dataset
from core.records.repositories.repository import Repository
from core.records.tables import dataset_versions, datasets, experiments


class DatasetRepository(Repository):
    """Records of data sets."""

    async def create(
        self, dataset_id: str, name: str, language: str, made_by: str, request: DatasetVersionRequest, priority: int
    ) -> DatasetRecord:
        """Insert a data set with its first version, which a job has to make."""
        now = self._database.now()
        status = DatasetStatus.PREPARING
        record = DatasetRecord(dataset_id, name, language, status, 0, 1, now, now, current_caller().owner)
        first = new_version(record, 1, made_by, None, request, priority, now)
        async with self._database.write() as connection:
            if existing := await find_created(connection, datasets, DatasetRecord, dataset_id):
                return existing
            await connection.execute(insert(datasets).values(as_values(record)))
            await connection.execute(insert(dataset_versions).values(as_values(first)))
        return record

    async def get(self, dataset_id: str) -> DatasetRecord:
        """Return a data set; raise NotFound for an unknown id."""
        async with self._database.read() as connection:
            return await fetch_dataset(connection, dataset_id)

    async def page(
        self, limit: int = 50, offset: int = 0, status: DatasetStatus | None = None, *, cursor: str = ""
    ) -> Page[DatasetRecord]:
        """Return a page of data sets, newest first."""
        where = [] if status is None else [datasets.c.status == status]
        async with self._database.read() as connection:
            return await fetch_page(connection, datasets, DatasetRecord, limit, offset, *where, cursor=cursor)

    async def update(self, dataset_id: str, **values: Unpack[DatasetChanges]) -> DatasetRecord:
        """Change its name or language."""
        async with self._database.write() as connection:
            record = await fetch_dataset(connection, dataset_id, lock=True)
            changed = replace(record, **values, updated_at=self._database.now())
            await write_dataset(connection, changed)
        return changed

    async def delete(self, dataset_id: str) -> None:
        """Delete all versions; raise Conflict while one is being made or while a running experiment uses it."""
        async with self._database.write() as connection:
            record = await fetch_dataset(connection, dataset_id, lock=True)
            check_not_preparing(record)
            running = (experiments.c.dataset_id == dataset_id, experiments.c.status == ExperimentStatus.RUNNING)
            query = select(experiments.c.id).where(*running).limit(5)
            if users := (await connection.execute(query)).scalars().all():
                raise Conflict(
                    f"The data set {dataset_id} is in use by {', '.join(users)}.",
                    hint="Cancel that first, or let it finish.",
                )
            await connection.execute(delete(datasets).where(datasets.c.id == dataset_id))

    async def discard(self, dataset_id: str) -> None:
        """Undo `create` for a data set whose job could not be enqueued."""
        async with self._database.write() as connection:
            await connection.execute(delete(datasets).where(datasets.c.id == dataset_id))
