"""Records of checkpoints and of the voices made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import Conflict, NotFound, VoiceNotFound
from core.ids import new_id
from core.records.base import Part
from core.records.database import as_values, fetch_one, fetch_page
from core.records.models import checkpoints, voices
from core.records.rows import CheckpointRecord, Page, VoiceRecord


class VoiceRecords(Part):
    """Create, find and forget checkpoints and voices."""

    async def create_checkpoint(
        self,
        id: str,
        *,
        kind: str,
        version: str,
        sha256: str,
        size_bytes: int,
        name: str = "",
        experiment_id: str | None = None,
        epoch: int | None = None,
        step: int | None = None,
        metrics: dict[str, Any] | None = None,
        lineage: dict[str, Any] | None = None,
        storage_key: str = "",
    ) -> CheckpointRecord:
        """`kind` is gpt or sovits. Harmless when repeated.

        The caller stored the weights under `checkpoints/<id>.safetensors` before.
        """
        record = CheckpointRecord(
            id=id,
            kind=kind,
            version=version,
            name=name,
            exp_id=experiment_id,
            epoch=epoch,
            step=step,
            metrics=metrics or {},
            sha256=sha256,
            size_bytes=size_bytes,
            storage_key=storage_key or f"checkpoints/{id}.safetensors",
            promoted=False,
            created_at=self._clock(),
            lineage=lineage or {},
        )

        async def insert_or_find(connection: AsyncConnection) -> CheckpointRecord:
            known = await fetch_one(connection, checkpoints, CheckpointRecord, checkpoints.c.id == id)
            if known is None:
                await connection.execute(insert(checkpoints).values(as_values(record)))
            return known or record

        return await self._database.write_alone(insert_or_find)

    async def get_checkpoint(self, checkpoint_id: str) -> CheckpointRecord:
        async with self._database.read() as connection:
            record = await fetch_one(connection, checkpoints, CheckpointRecord, checkpoints.c.id == checkpoint_id)
        if record is None:
            raise NotFound(f"no checkpoint {checkpoint_id!r}")
        return record

    async def list_checkpoints(
        self, limit: int = 50, offset: int = 0, kind: str | None = None, exp_id: str | None = None
    ) -> Page[CheckpointRecord]:
        where = [] if kind is None else [checkpoints.c.kind == kind]
        if exp_id is not None:
            where.append(checkpoints.c.exp_id == exp_id)
        async with self._database.read() as connection:
            return await fetch_page(connection, checkpoints, CheckpointRecord, limit, offset, *where)

    async def measure_checkpoint(self, checkpoint_id: str, metrics: dict[str, Any]) -> CheckpointRecord:
        """Add numbers to those that a checkpoint has; NotFound when it was deleted meanwhile."""
        this_row = checkpoints.c.id == checkpoint_id
        async with self._database.write() as connection:
            record = await fetch_one(connection, checkpoints, CheckpointRecord, this_row, lock=True)
            if record is None:
                raise NotFound(f"no checkpoint {checkpoint_id!r}")
            record = replace(record, metrics={**record.metrics, **metrics})
            await connection.execute(update(checkpoints).where(this_row).values(metrics=record.metrics))
        return record

    async def promote_checkpoint(self, checkpoint_id: str, promoted: bool = True) -> CheckpointRecord:
        async with self._database.write() as connection:
            await connection.execute(
                update(checkpoints).where(checkpoints.c.id == checkpoint_id).values(promoted=promoted)
            )
        return await self.get_checkpoint(checkpoint_id)

    async def delete_checkpoint(self, checkpoint_id: str) -> CheckpointRecord:
        """The record that was deleted. Conflict while a voice speaks with it."""
        async with self._database.write() as connection:
            this_row = checkpoints.c.id == checkpoint_id
            record = await fetch_one(connection, checkpoints, CheckpointRecord, this_row, lock=True)
            if record is None:
                raise NotFound(f"no checkpoint {checkpoint_id!r}")
            uses = or_(voices.c.gpt_checkpoint_id == checkpoint_id, voices.c.sovits_checkpoint_id == checkpoint_id)
            names = (await connection.execute(select(voices.c.name).where(uses).limit(5))).scalars().all()
            if names:
                raise Conflict(
                    f"checkpoint {checkpoint_id} speaks for {', '.join(names)}",
                    hint="Delete the voice first.",
                )
            await connection.execute(delete(checkpoints).where(checkpoints.c.id == checkpoint_id))
        return record

    async def create_voice(
        self,
        *,
        name: str,
        version: str,
        language: str,
        gpt_checkpoint_id: str,
        sovits_checkpoint_id: str,
        prompts: list[dict[str, Any]],
        exp_id: str | None = None,
        voice_id: str = "",
        pronunciations: dict[str, str] | None = None,
    ) -> VoiceRecord:
        """A taken name gets a number (`bob-2`). The same `voice_id` again gives the voice that is there."""
        record = VoiceRecord(
            id=voice_id or new_id("voice"),
            name=name,
            version=version,
            language=language,
            gpt_checkpoint_id=gpt_checkpoint_id,
            sovits_checkpoint_id=sovits_checkpoint_id,
            prompts=prompts,
            exp_id=exp_id,
            created_at=self._clock(),
            pronunciations=pronunciations or {},
        )

        async def insert_or_find(connection: AsyncConnection) -> VoiceRecord:
            known = await fetch_one(connection, voices, VoiceRecord, voices.c.id == record.id)
            if known is not None:
                return known
            await _need_checkpoint(connection, gpt_checkpoint_id, "gpt")
            await _need_checkpoint(connection, sovits_checkpoint_id, "sovits")
            named = replace(record, name=await _free_name(connection, name))
            await connection.execute(insert(voices).values(as_values(named)))
            return named

        return await self._database.write_alone(insert_or_find)

    async def get_voice(self, id_or_name: str) -> VoiceRecord:
        """An id wins over a name. VoiceNotFound names some that there are."""
        async with self._database.read() as connection:
            record = await fetch_one(connection, voices, VoiceRecord, voices.c.id == id_or_name)
            record = record or await fetch_one(connection, voices, VoiceRecord, voices.c.name == id_or_name)
            if record is not None:
                return record
            names = (await connection.execute(select(voices.c.name).order_by(voices.c.name).limit(10))).scalars()
        published = ", ".join(names) or "none yet"
        raise VoiceNotFound(f"no voice named {id_or_name!r}", hint=f"Published voices: {published}.")

    async def list_voices(self, limit: int = 50, offset: int = 0) -> Page[VoiceRecord]:
        async with self._database.read() as connection:
            return await fetch_page(connection, voices, VoiceRecord, limit, offset)

    async def update_voice(self, voice_id: str, **values: Any) -> VoiceRecord:
        """Change name, language, prompts, pronunciations or checkpoints. Conflict when the name is taken."""
        try:
            async with self._database.write() as connection:
                await connection.execute(update(voices).where(voices.c.id == voice_id).values(**values))
        except IntegrityError:
            raise Conflict(f"{values} cannot be: the name is taken or the checkpoint unknown") from None
        return await self.get_voice(voice_id)

    async def delete_voice(self, id_or_name: str) -> VoiceRecord:
        """The record that was deleted; its checkpoints stay."""
        record = await self.get_voice(id_or_name)
        async with self._database.write() as connection:
            await connection.execute(delete(voices).where(voices.c.id == record.id))
        return record


async def _need_checkpoint(connection: AsyncConnection, checkpoint_id: str, kind: str) -> None:
    found = (await connection.execute(select(checkpoints.c.kind).where(checkpoints.c.id == checkpoint_id))).scalar()
    if found != kind:
        raise NotFound(f"no {kind} checkpoint {checkpoint_id!r}", hint="GET /api/v1/models lists them.")


async def _free_name(connection: AsyncConnection, name: str) -> str:
    candidate, number = name, 1
    while (await connection.execute(select(voices.c.id).where(voices.c.name == candidate))).first() is not None:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
