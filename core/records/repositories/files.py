"""Uploaded files. Their bytes are in the storage."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from common import storage_keys
from core.access import current_caller
from core.errors import Conflict, NotFound, QuotaExceeded
from core.records.models.datasets import DatasetStatus
from core.records.models.experiments import ExperimentStatus
from core.records.models.files import FileRecord, NewFileRecord
from core.records.models.page import Page
from core.records.models.tasks import UNDER_WAY, TaskStatus
from core.records.queries import as_values, fetch_all, fetch_one, fetch_page, find_created
from core.records.repositories.repository import Repository
from core.records.tables import checkpoints, dataset_versions, experiments, files, tasks

QUOTA_RETRY_SECONDS: Final = 60.0
"""After so long a caller whose storage is full may try again; something must have been deleted."""
_UNFINISHED = (TaskStatus.QUEUED, *UNDER_WAY)


class FileRepository(Repository):
    """Records of uploaded files."""

    async def create(self, new: NewFileRecord) -> FileRecord:
        """Insert the record of a file whose bytes the caller has stored; raise QuotaExceeded when there is no room."""
        record = FileRecord(
            id=new.id,
            filename=new.filename,
            purpose=new.purpose,
            size_bytes=new.size_bytes,
            sha256=new.sha256,
            media_type=new.media_type,
            duration_seconds=new.duration_seconds,
            sample_rate=new.sample_rate,
            channels=new.channels,
            storage_key=new.storage_key or storage_keys.uploaded_file(new.id),
            uploaded_at=self._database.now(),
            owner=current_caller().owner,
        )
        async with self._database.write() as connection:
            await _check_room(connection, new.size_bytes)
            await connection.execute(insert(files).values(as_values(record)))
        return record

    async def find_created(self, file_id: str) -> FileRecord | None:
        """Return the record if the present request created it when it came before."""
        async with self._database.read() as connection:
            return await find_created(connection, files, FileRecord, file_id)

    async def check_room(self, size_bytes: int) -> None:
        """Raise QuotaExceeded when the caller's key has no room for so many bytes; before they are received."""
        if current_caller().quota.bytes_stored is not None:
            async with self._database.read() as connection:
                await _check_room(connection, size_bytes, before_upload=True)

    async def get(self, file_id: str) -> FileRecord:
        """Return a file's record; raise NotFound for an unknown id."""
        async with self._database.read() as connection:
            record = await fetch_one(connection, files, FileRecord, files.c.id == file_id)
        if record is None:
            raise NotFound(f"no file {file_id!r}", hint="POST /api/v1/files uploads one.")
        return record

    async def newest_named(self, filename: str) -> FileRecord | None:
        """Return the newest file of a name that the caller may see, or None."""
        async with self._database.read() as connection:
            page = await fetch_page(connection, files, FileRecord, 1, 0, files.c.filename == filename)
        return page.items[0] if page.items else None

    async def find_named(self, name: str) -> FileRecord | None:
        """Return a file by its id, else the newest whose file name is this with or without its ending; None if none."""
        escaped = re.sub(r"([\\%_])", r"\\\1", name)
        by_name = or_(files.c.filename == name, files.c.filename.like(f"{escaped}.%", escape="\\"))
        async with self._database.read() as connection:
            record = await fetch_one(connection, files, FileRecord, files.c.id == name)
            if record is not None:
                return record
            candidates = await fetch_all(connection, files, FileRecord, by_name)
        named = [file for file in candidates if name in (file.filename, file.filename.rpartition(".")[0])]
        return max(named, key=lambda file: (file.uploaded_at, file.id), default=None)

    async def page(
        self, limit: int = 50, offset: int = 0, purpose: str | None = None, *, cursor: str = ""
    ) -> Page[FileRecord]:
        """Return a page of files, newest first; those of one purpose, if given."""
        where = [] if purpose is None else [files.c.purpose == purpose]
        async with self._database.read() as connection:
            return await fetch_page(connection, files, FileRecord, limit, offset, *where, cursor=cursor)

    async def delete(self, file_id: str) -> FileRecord:
        """Delete a record and return it, so that the caller can delete its bytes; raise Conflict while it is in use."""
        async with self._database.write() as connection:
            record = await fetch_one(connection, files, FileRecord, files.c.id == file_id, lock=True)
            if record is None:
                raise NotFound(f"no file {file_id!r}")
            in_tasks = select(tasks.c.id).where(tasks.c.audio_file_id == file_id, tasks.c.status.in_(_UNFINISHED))
            in_experiments = select(experiments.c.id).where(
                experiments.c.audio_file_id == file_id, experiments.c.status == ExperimentStatus.RUNNING
            )
            users = list((await connection.execute(in_tasks.union_all(in_experiments).limit(5))).scalars().all())
            users += await _importing_datasets(connection, file_id)
            if users:
                raise Conflict(
                    f"file {file_id} is in use by {', '.join(users)}",
                    hint="Cancel that first, or let it finish.",
                )
            await connection.execute(delete(files).where(files.c.id == file_id))
        return record


async def _check_room(connection: AsyncConnection, size_bytes: int, *, before_upload: bool = False) -> None:
    caller = current_caller()
    limit = caller.quota.bytes_stored
    if limit is None:
        return
    used = 0
    for table in (files, checkpoints):
        query = select(func.coalesce(func.sum(table.c.size_bytes), 0)).where(table.c.owner == caller.owner)
        used += int((await connection.execute(query)).scalar_one())
    if used + size_bytes > limit:
        raise QuotaExceeded(
            f"Your files and checkpoints have {used:,} bytes, and this file {size_bytes:,}; this API key may store "
            f"{limit:,}.",
            retry_after=QUOTA_RETRY_SECONDS,
            hint="Delete some: DELETE /api/v1/files/{id}.",
            before_upload=before_upload,
        )


async def _importing_datasets(connection: AsyncConnection, file_id: str) -> list[str]:
    """Return the ids of data sets that a job is still importing this file into; afterwards they have their own copy."""
    table = dataset_versions
    query = select(table.c.dataset_id, table.c.request).where(table.c.status == DatasetStatus.PREPARING)
    rows = (await connection.execute(query)).all()
    return [
        dataset_id
        for dataset_id, request in rows
        if any(source["file_id"] == file_id for source in request.get("sources", ()))
    ]
