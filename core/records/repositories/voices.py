"""Published voices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Unpack

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.access import Scope, current_caller
from core.creation import creation_id
from core.errors import Conflict, NotFound, VoiceNotFound
from core.records.database import Database
from core.records.models.page import Page
from core.records.models.voices import NewVoiceRecord, VoiceChanges, VoiceRecord
from core.records.queries import as_values, fetch_all, fetch_one, fetch_page, find_created, visible
from core.records.repositories.checkpoints import uses_checkpoint
from core.records.repositories.consents import ConsentRepository
from core.records.repositories.repository import Repository
from core.records.tables import checkpoints, voices

logger = logging.getLogger(__name__)


class VoiceRepository(Repository):
    """Records of published voices."""

    def __init__(self, database: Database, consents: ConsentRepository) -> None:
        super().__init__(database)
        self._consents = consents

    async def find_created(self, voice_id: str) -> VoiceRecord | None:
        """Return the voice if the present request created it when it came before."""
        async with self._database.read() as connection:
            return await find_created(connection, voices, VoiceRecord, voice_id)

    async def create(self, new: NewVoiceRecord) -> VoiceRecord:
        """Insert a voice, numbered (`bob-2`) when its name is taken; return the existing voice of the same id.

        Raises ConsentMissing where the consent of the speaker is required and there is none.
        """
        record = VoiceRecord(
            id=new.id or creation_id("voice"),
            name=new.name,
            version=new.version,
            language=new.language,
            gpt_checkpoint_id=new.gpt_checkpoint_id,
            sovits_checkpoint_id=new.sovits_checkpoint_id,
            prompts=new.prompts,
            exp_id=new.exp_id,
            created_at=self._database.now(),
            pronunciations=new.pronunciations,
            owner=new.owner or current_caller().owner,
            loudness=new.loudness,
        )
        if record.owner is not None:
            record = replace(record, visibility="private")

        async def insert_or_find(connection: AsyncConnection) -> VoiceRecord:
            existing = await fetch_one(connection, voices, VoiceRecord, voices.c.id == record.id)
            if existing is not None:
                return existing
            await _check_checkpoint(connection, new.gpt_checkpoint_id, "gpt")
            await _check_checkpoint(connection, new.sovits_checkpoint_id, "sovits")
            consent_id = await self._consents.for_new_voice(connection, new.consent_id, record.owner)
            name, number = new.name, 1
            while (await connection.execute(select(voices.c.id).where(voices.c.name == name))).first() is not None:
                number += 1
                name = f"{new.name}-{number}"
            named = replace(record, name=name, consent_id=consent_id)
            await connection.execute(insert(voices).values(as_values(named)))
            if consent_id is None:
                logger.warning(
                    "The voice %s is published without the consent of its speaker; REQUIRE_CONSENT=on demands one.",
                    name,
                )
            return named

        return await self._database.write_with_retry(insert_or_find)

    async def get(self, id_or_name: str) -> VoiceRecord:
        """Return a voice; an id wins over a name. Raise VoiceNotFound, which names some that exist."""
        either = or_(voices.c.id == id_or_name, voices.c.name == id_or_name)
        async with self._database.read() as connection:
            records = await fetch_all(connection, voices, VoiceRecord, either)
            if records:
                return next((record for record in records if record.id == id_or_name), records[0])
            query = select(voices.c.name).where(*visible(voices)).order_by(voices.c.name).limit(10)
            names = (await connection.execute(query)).scalars()
        published = ", ".join(names) or "none yet"
        raise VoiceNotFound(f"no voice named {id_or_name!r}", hint=f"Published voices: {published}.")

    async def get_to_speak(self, id_or_name: str) -> VoiceRecord:
        """Return a voice; raise VoiceNotFound as `get`, and ConsentMissing when its speaker agrees no more."""
        voice = await self.get(id_or_name)
        await self._consents.check_voice(voice)
        return voice

    async def named(self, name: str) -> list[VoiceRecord]:
        """Return the voices whose name is this one but for case."""
        async with self._database.read() as connection:
            query = select(voices.c.id, voices.c.name).where(*visible(voices))
            key = name.strip().casefold()
            ids = [row.id for row in (await connection.execute(query)).all() if row.name.casefold() == key]
            return await fetch_all(connection, voices, VoiceRecord, voices.c.id.in_(ids)) if ids else []

    async def has_name(self, name: str) -> bool:
        """Return whether a voice has exactly that name."""
        async with self._database.read() as connection:
            return (await connection.execute(select(voices.c.id).where(voices.c.name == name))).first() is not None

    async def page(self, limit: int = 50, offset: int = 0, *, cursor: str = "") -> Page[VoiceRecord]:
        """Return a page of voices, newest first."""
        async with self._database.read() as connection:
            return await fetch_page(connection, voices, VoiceRecord, limit, offset, cursor=cursor)

    async def by_checkpoint(self, checkpoint_ids: Iterable[str]) -> dict[str, list[VoiceRecord]]:
        """Return the voices that use each of these checkpoints; unused ids are left out."""
        ids = list(checkpoint_ids)
        async with self._database.read() as connection:
            users = await fetch_all(connection, voices, VoiceRecord, uses_checkpoint(ids))
        grouped: dict[str, list[VoiceRecord]] = {}
        for voice in users:
            for checkpoint_id in {voice.gpt_checkpoint_id, voice.sovits_checkpoint_id}.intersection(ids):
                grouped.setdefault(checkpoint_id, []).append(voice)
        return grouped

    async def update(self, voice_id: str, **values: Unpack[VoiceChanges]) -> VoiceRecord:
        """Change name, language, prompts, pronunciations or checkpoints; raise Conflict when the name is taken."""
        return await self.change(voice_id, lambda _: values)

    async def change(self, voice_id: str, change: Callable[[VoiceRecord], VoiceChanges]) -> VoiceRecord:
        """Write the values that `change` returns for the current record; nobody else writes in between.

        Raise Conflict when the name is taken, or when one of its checkpoints was deleted meanwhile; Forbidden for a
        shared voice unless the caller is an admin.
        """
        this_row = voices.c.id == voice_id
        try:
            async with self._database.write() as connection:
                record = await fetch_one(connection, voices, VoiceRecord, this_row, lock=True)
                if record is None:
                    raise VoiceNotFound(f"no voice {voice_id!r}", hint="GET /api/v1/voices lists them.")
                _check_may_change(record)
                values = change(record)
                if values.get("visibility", record.visibility) != record.visibility:
                    current_caller().require(Scope.ADMIN, "sharing a voice")
                if values:
                    await connection.execute(update(voices).where(this_row).values(**values))
                    record = await fetch_one(connection, voices, VoiceRecord, this_row)
                    assert record is not None
        except IntegrityError:
            raise Conflict("The name is taken, or the checkpoint was deleted.", hint="Choose another name.") from None
        return record

    async def delete(self, id_or_name: str) -> VoiceRecord:
        """Delete a voice and return its record; its checkpoints stay. Raise Forbidden as `change` does."""
        record = await self.get(id_or_name)
        _check_may_change(record)
        async with self._database.write() as connection:
            await connection.execute(delete(voices).where(voices.c.id == record.id))
        return record


def _check_may_change(voice: VoiceRecord) -> None:
    """Raise Forbidden for a shared voice unless the caller is an admin: everybody speaks with it."""
    if voice.visibility == "shared":
        current_caller().require(Scope.ADMIN, f"a change of the shared voice {voice.name!r}")


async def _check_checkpoint(connection: AsyncConnection, checkpoint_id: str, kind: str) -> None:
    actual = (await connection.execute(select(checkpoints.c.kind).where(checkpoints.c.id == checkpoint_id))).scalar()
    if actual != kind:
        raise NotFound(f"no {kind} checkpoint {checkpoint_id!r}", hint="GET /api/v1/models lists them.")
