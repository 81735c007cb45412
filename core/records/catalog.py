"""What is asked about weights and voices together: who uses what, and what may go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import Conflict, NotFound, VoiceNotFound
from core.records.base import Part
from core.records.database import fetch_all, fetch_one, fetch_page
from core.records.models import checkpoints, experiments, voices
from core.records.rows import CheckpointRecord, ExperimentStatus, Page, VoiceRecord


class CatalogueRecords(Part):
    """Checkpoints with the voices that use them."""

    async def list_models(
        self,
        limit: int = 50,
        offset: int = 0,
        *,
        kind: str | None = None,
        version: str | None = None,
        exp_id: str | None = None,
        promoted: bool | None = None,
    ) -> Page[CheckpointRecord]:
        """Newest first."""
        wanted = {"kind": kind, "version": version, "exp_id": exp_id, "promoted": promoted}
        where = [checkpoints.c[name] == value for name, value in wanted.items() if value is not None]
        async with self._database.read() as connection:
            return await fetch_page(connection, checkpoints, CheckpointRecord, limit, offset, *where)

    async def find_checkpoint(self, kind: str, sha256: str) -> CheckpointRecord | None:
        """The oldest checkpoint whose file has these bytes."""
        same = (checkpoints.c.kind == kind, checkpoints.c.sha256 == sha256)
        async with self._database.read() as connection:
            found = await fetch_all(connection, checkpoints, CheckpointRecord, *same)
        return min(found, key=lambda one: (one.created_at, one.id), default=None)

    async def voices_of(self, checkpoint_ids: Iterable[str]) -> dict[str, list[VoiceRecord]]:
        """The voices that speak with each of these checkpoints; ids that nobody uses are left out."""
        ids = list(checkpoint_ids)
        async with self._database.read() as connection:
            users = await fetch_all(connection, voices, VoiceRecord, _speaks_with(ids))
        found: dict[str, list[VoiceRecord]] = {}
        for voice in users:
            for used in {voice.gpt_checkpoint_id, voice.sovits_checkpoint_id}.intersection(ids):
                found.setdefault(used, []).append(voice)
        return found

    async def delete_model(
        self, checkpoint_id: str, delete_file: Callable[[str], Awaitable[object]]
    ) -> CheckpointRecord:
        """Delete a checkpoint, its file first, while nobody can begin to use it; the record that was deleted.

        A crash in between leaves a record without a file, which can be deleted again, and never a file that nobody
        knows of. Conflict while a voice speaks with it, or its experiment is at work and may yet need it.
        """
        async with self._database.write() as connection:
            this_row = checkpoints.c.id == checkpoint_id
            record = await fetch_one(connection, checkpoints, CheckpointRecord, this_row, lock=True)
            if record is None:
                raise _unknown_model(checkpoint_id)
            await _check_unused(connection, record)
            await delete_file(record.storage_key)
            await connection.execute(delete(checkpoints).where(this_row))
        return record

    async def change_voice(self, voice_id: str, change: Callable[[VoiceRecord], dict[str, Any]]) -> VoiceRecord:
        """Write what `change` answers to the record as it is now; nobody writes in between.

        Conflict when the name is taken, or one of its checkpoints was deleted meanwhile.
        """
        this_row = voices.c.id == voice_id
        try:
            async with self._database.write() as connection:
                record = await fetch_one(connection, voices, VoiceRecord, this_row, lock=True)
                if record is None:
                    raise VoiceNotFound(f"no voice {voice_id!r}", hint="GET /api/v1/voices lists them.")
                if values := change(record):
                    await connection.execute(update(voices).where(this_row).values(**values))
                    record = await fetch_one(connection, voices, VoiceRecord, this_row)
                    assert record is not None
        except IntegrityError:
            raise Conflict("The name is taken, or the checkpoint was deleted.", hint="Choose another name.") from None
        return record

    async def find_voices(self, name: str) -> list[VoiceRecord]:
        """The voice of exactly that name, if there is one."""
        async with self._database.read() as connection:
            return await fetch_all(connection, voices, VoiceRecord, voices.c.name == name)


def _speaks_with(checkpoint_ids: list[str]) -> Any:
    return or_(voices.c.gpt_checkpoint_id.in_(checkpoint_ids), voices.c.sovits_checkpoint_id.in_(checkpoint_ids))


async def _check_unused(connection: AsyncConnection, record: CheckpointRecord) -> None:
    users = await fetch_all(connection, voices, VoiceRecord, _speaks_with([record.id]))
    if users:
        shown = ", ".join(sorted(voice.name for voice in users)[:20])
        raise Conflict(
            f"The checkpoint {record.id} speaks for {shown}.",
            hint="Delete the voices first, or give them another checkpoint.",
            details={"voices": [{"id": voice.id, "name": voice.name} for voice in users[:100]]},
        )
    at_work = (experiments.c.id == record.exp_id, experiments.c.status == ExperimentStatus.RUNNING)
    if (await connection.execute(select(experiments.c.id).where(*at_work))).first() is not None:
        raise Conflict(
            f"The experiment {record.exp_id}, which made the checkpoint {record.id}, is at work.",
            hint="Cancel it first, or let it finish.",
        )


def _unknown_model(checkpoint_id: str) -> NotFound:
    return NotFound(f"There is no model {checkpoint_id!r}.", hint="GET /api/v1/models lists them.")
