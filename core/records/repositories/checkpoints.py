"""Checkpoints. Their weights are in the storage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from common import storage_keys
from core.access import current_caller
from core.errors import Conflict, NotFound
from core.records.models.checkpoints import CheckpointRecord, NewCheckpointRecord
from core.records.models.experiments import ExperimentStatus
from core.records.models.page import Page
from core.records.models.voices import VoiceRecord
from core.records.queries import as_values, fetch_all, fetch_one, fetch_page
from core.records.repositories.repository import Repository
from core.records.tables import checkpoints, experiments, voices


class CheckpointRepository(Repository):
    """Records of checkpoints."""

    async def create(self, new: NewCheckpointRecord) -> CheckpointRecord:
        """Insert the record of weights that the caller has stored, or return the existing one."""
        record = CheckpointRecord(
            id=new.id,
            kind=new.kind,
            version=new.version,
            name=new.name,
            exp_id=new.exp_id,
            epoch=new.epoch,
            step=new.step,
            metrics=new.metrics,
            sha256=new.sha256,
            size_bytes=new.size_bytes,
            storage_key=new.storage_key or storage_keys.checkpoint(new.id),
            promoted=False,
            created_at=self._database.now(),
            lineage=new.lineage,
            owner=current_caller().owner,
        )

        async def insert_or_find(connection: AsyncConnection) -> CheckpointRecord:
            existing = await fetch_one(connection, checkpoints, CheckpointRecord, checkpoints.c.id == new.id)
            if existing is None:
                await connection.execute(insert(checkpoints).values(as_values(record)))
            return existing or record

        return await self._database.write_with_retry(insert_or_find)

    async def get(self, checkpoint_id: str) -> CheckpointRecord:
        """Return a checkpoint; raise NotFound for an unknown id."""
        async with self._database.read() as connection:
            return await _get_checkpoint(connection, checkpoint_id)

    async def find_by_checksum(self, kind: str, sha256: str) -> CheckpointRecord | None:
        """Return the oldest checkpoint whose file has this SHA-256."""
        same = (checkpoints.c.kind == kind, checkpoints.c.sha256 == sha256)
        async with self._database.read() as connection:
            records = await fetch_all(connection, checkpoints, CheckpointRecord, *same)
        return min(records, key=lambda record: (record.created_at, record.id), default=None)

    async def find_named(self, kind: str, name: str) -> CheckpointRecord | None:
        """Return the checkpoint of this id, else the newest of this name; None where there is none of the kind."""
        same = (checkpoints.c.kind == kind, or_(checkpoints.c.id == name, checkpoints.c.name == name))
        async with self._database.read() as connection:
            records = await fetch_all(connection, checkpoints, CheckpointRecord, *same)
        return max(records, key=lambda record: (record.id == name, record.created_at, record.id), default=None)

    async def page(
        self,
        limit: int = 50,
        offset: int = 0,
        *,
        kind: str | None = None,
        version: str | None = None,
        exp_id: str | None = None,
        promoted: bool | None = None,
        cursor: str = "",
    ) -> Page[CheckpointRecord]:
        """Return a page of checkpoints, newest first."""
        filters = {"kind": kind, "version": version, "exp_id": exp_id, "promoted": promoted}
        where = [checkpoints.c[name] == value for name, value in filters.items() if value is not None]
        async with self._database.read() as connection:
            return await fetch_page(connection, checkpoints, CheckpointRecord, limit, offset, *where, cursor=cursor)

    async def add_metrics(self, checkpoint_id: str, metrics: Mapping[str, object]) -> CheckpointRecord:
        """Add numbers to a checkpoint's metrics; raise NotFound when it was deleted meanwhile."""
        async with self._database.write() as connection:
            record = await _get_checkpoint(connection, checkpoint_id, lock=True)
            record = replace(record, metrics={**record.metrics, **metrics})
            this_row = update(checkpoints).where(checkpoints.c.id == checkpoint_id)
            await connection.execute(this_row.values(metrics=record.metrics))
        return record

    async def promote(self, checkpoint_id: str, promoted: bool = True) -> CheckpointRecord:
        """Mark a checkpoint as kept when its experiment is deleted, or remove the mark."""
        async with self._database.write() as connection:
            this_row = update(checkpoints).where(checkpoints.c.id == checkpoint_id)
            await connection.execute(this_row.values(promoted=promoted))
        return await self.get(checkpoint_id)

    async def delete(self, checkpoint_id: str) -> CheckpointRecord:
        """Delete a record, not its file; raise Conflict while a voice uses it."""
        async with self._database.write() as connection:
            record = await _get_checkpoint(connection, checkpoint_id, lock=True)
            query = select(voices.c.name).where(uses_checkpoint([checkpoint_id])).limit(5)
            names = (await connection.execute(query)).scalars().all()
            if names:
                raise Conflict(
                    f"checkpoint {checkpoint_id} speaks for {', '.join(names)}",
                    hint="Delete the voice first.",
                )
            await connection.execute(delete(checkpoints).where(checkpoints.c.id == checkpoint_id))
        return record

    async def delete_with_file(
        self, checkpoint_id: str, delete_file: Callable[[str], Awaitable[object]]
    ) -> CheckpointRecord:
        """Delete a checkpoint, its file first, in a transaction in which no voice can start to use it.

        A crash in between leaves a record without a file, which can be deleted again, never a file without a record.
        Raise Conflict while a voice uses it, or while its experiment is running and may need it.
        """
        async with self._database.write() as connection:
            this_row = checkpoints.c.id == checkpoint_id
            record = await fetch_one(connection, checkpoints, CheckpointRecord, this_row, lock=True)
            if record is None:
                raise NotFound(f"There is no model {checkpoint_id!r}.", hint="GET /api/v1/models lists them.")
            of_all = await fetch_all(connection, voices, VoiceRecord, uses_checkpoint([record.id]), of_everybody=True)
            if of_all:
                users = [voice for voice in of_all if current_caller().sees(voice.owner)]
                names = ", ".join(sorted(voice.name for voice in users)[:20]) or "a voice of another owner"
                raise Conflict(
                    f"The checkpoint {record.id} speaks for {names}.",
                    hint="Delete the voices first, or give them another checkpoint.",
                    details={"voices": [{"id": voice.id, "name": voice.name} for voice in users[:100]]},
                )
            running = (experiments.c.id == record.exp_id, experiments.c.status == ExperimentStatus.RUNNING)
            if (await connection.execute(select(experiments.c.id).where(*running))).first() is not None:
                raise Conflict(
                    f"The experiment {record.exp_id}, which made the checkpoint {record.id}, is at work.",
                    hint="Cancel it first, or let it finish.",
                )
            await delete_file(record.storage_key)
            await connection.execute(delete(checkpoints).where(this_row))
        return record


def uses_checkpoint(checkpoint_ids: list[str]) -> ColumnElement[bool]:
    """Return the condition that a voice uses one of these checkpoints."""
    return or_(voices.c.gpt_checkpoint_id.in_(checkpoint_ids), voices.c.sovits_checkpoint_id.in_(checkpoint_ids))


async def _get_checkpoint(connection: AsyncConnection, checkpoint_id: str, *, lock: bool = False) -> CheckpointRecord:
    this_row = checkpoints.c.id == checkpoint_id
    record = await fetch_one(connection, checkpoints, CheckpointRecord, this_row, lock=lock)
    if record is None:
        raise NotFound(f"no checkpoint {checkpoint_id!r}")
    return record
