"""Records of uploaded files."""

from __future__ import annotations

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import Conflict, NotFound
from core.records.base import Part
from core.records.database import as_values, fetch_one, fetch_page
from core.records.dataset_rows import DatasetStatus
from core.records.models import dataset_versions, experiments, files, tasks
from core.records.rows import ExperimentStatus, FileRecord, Page, TaskStatus

_UNFINISHED = (TaskStatus.QUEUED, TaskStatus.RUNNING, TaskStatus.INTERRUPTED)


class FileRecords(Part):
    """Create, find and forget files; the bytes are the storage's business."""

    async def create_file(
        self,
        file_id: str,
        *,
        filename: str,
        purpose: str,
        size_bytes: int,
        sha256: str,
        media_type: str = "application/octet-stream",
        duration_seconds: float | None = None,
        sample_rate: int | None = None,
        channels: int | None = None,
        storage_key: str = "",
    ) -> FileRecord:
        """The id is made by the caller (`new_id("file")`), who stored the bytes under `files/<id>` before."""
        record = FileRecord(
            id=file_id,
            filename=filename,
            purpose=purpose,
            size_bytes=size_bytes,
            sha256=sha256,
            media_type=media_type,
            duration_seconds=duration_seconds,
            sample_rate=sample_rate,
            channels=channels,
            storage_key=storage_key or f"files/{file_id}",
            uploaded_at=self._clock(),
        )
        async with self._database.write() as connection:
            await connection.execute(insert(files).values(as_values(record)))
        return record

    async def get_file(self, file_id: str) -> FileRecord:
        async with self._database.read() as connection:
            record = await fetch_one(connection, files, FileRecord, files.c.id == file_id)
        if record is None:
            raise NotFound(f"no file {file_id!r}", hint="POST /api/v1/files uploads one.")
        return record

    async def list_files(self, limit: int = 50, offset: int = 0, purpose: str | None = None) -> Page[FileRecord]:
        where = [] if purpose is None else [files.c.purpose == purpose]
        async with self._database.read() as connection:
            return await fetch_page(connection, files, FileRecord, limit, offset, *where)

    async def delete_file(self, file_id: str) -> FileRecord:
        """The record that was deleted, so that its bytes can follow. Conflict while it is in use."""
        async with self._database.write() as connection:
            record = await fetch_one(connection, files, FileRecord, files.c.id == file_id, lock=True)
            if record is None:
                raise NotFound(f"no file {file_id!r}")
            in_tasks = select(tasks.c.id).where(tasks.c.audio_file_id == file_id, tasks.c.status.in_(_UNFINISHED))
            in_experiments = select(experiments.c.id).where(
                experiments.c.audio_file_id == file_id, experiments.c.status == ExperimentStatus.RUNNING
            )
            users = list((await connection.execute(in_tasks.union_all(in_experiments).limit(5))).scalars().all())
            users += await _datasets_in_the_making(connection, file_id)
            if users:
                raise Conflict(
                    f"file {file_id} is in use by {', '.join(users)}",
                    hint="Cancel that first, or let it finish.",
                )
            await connection.execute(delete(files).where(files.c.id == file_id))
        return record


async def _datasets_in_the_making(connection: AsyncConnection, file_id: str) -> list[str]:
    """Data sets that a job still takes this file into; afterwards they have their own copy."""
    table = dataset_versions
    query = select(table.c.dataset_id, table.c.request).where(table.c.status == DatasetStatus.PREPARING)
    rows = (await connection.execute(query)).all()
    return [
        dataset for dataset, request in rows if any(one["file_id"] == file_id for one in request.get("sources", ()))
    ]
