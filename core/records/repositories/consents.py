"""Statements of consent, and what they allow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.access import current_caller
from core.creation import creation_id
from core.errors import ConsentMissing, NotFound
from core.records.database import Database
from core.records.models.consents import ConsentRecord, ConsentRule, ConsentSource, NewConsentRecord
from core.records.models.page import Page
from core.records.models.times import iso
from core.records.models.voices import VoiceRecord
from core.records.queries import as_values, fetch_all, fetch_one, fetch_page
from core.records.repositories.repository import Repository
from core.records.tables import consents, voices

OPERATOR = "the operator of this service"


class ConsentRepository(Repository):
    """Records of consents."""

    def __init__(self, database: Database, rule: ConsentRule) -> None:
        super().__init__(database)
        self.rule = rule

    async def create(self, new: NewConsentRecord) -> ConsentRecord:
        """Store a statement; return the existing one of the same id."""
        return await self._database.write_with_retry(partial(self._create, new=new))

    async def get(self, consent_id: str) -> ConsentRecord:
        """Return a consent that the caller may see; raise NotFound."""
        async with self._database.read() as connection:
            record = await fetch_one(connection, consents, ConsentRecord, consents.c.id == consent_id)
        if record is None:
            raise NotFound(f"no consent {consent_id!r}", hint="GET /api/v1/consents lists them.")
        return record

    async def page(self, limit: int = 50, offset: int = 0) -> Page[ConsentRecord]:
        """Return a page of consents, newest first."""
        async with self._database.read() as connection:
            return await fetch_page(connection, consents, ConsentRecord, limit, offset)

    async def spoken_page(self, limit: int, cursor: str = "") -> Page[ConsentRecord]:
        """Return a page of the spoken consents that were not withdrawn, newest first, after the one with an id."""
        where = (consents.c.source == ConsentSource.RECORDING, consents.c.withdrawn_at.is_(None))
        async with self._database.read() as connection:
            return await fetch_page(connection, consents, ConsentRecord, limit, 0, *where, cursor=cursor)

    async def of_ids(self, ids: Iterable[str]) -> dict[str, ConsentRecord]:
        """Return the consents of these ids, of whomever they are: whoever may see a voice may see its consent."""
        consent_ids = sorted(set(ids))
        async with self._database.read() as connection:
            where = consents.c.id.in_(consent_ids)
            records = (
                await fetch_all(connection, consents, ConsentRecord, where, of_everybody=True) if consent_ids else []
            )
        return {record.id: record for record in records}

    async def rename(self, consent_id: str, name: str) -> ConsentRecord:
        """Change the name of a consent."""
        return await self._change(consent_id, name=name)

    async def withdraw(self, consent_id: str) -> ConsentRecord:
        """Withdraw a consent: from now on nobody can speak with its voices. Repeating it changes nothing."""
        record = await self.get(consent_id)
        if record.withdrawn_at is not None:
            return record
        return await self._change(consent_id, withdrawn_at=self._database.now())

    async def check_voice(self, voice: VoiceRecord) -> None:
        """Raise ConsentMissing when the consent of a voice was withdrawn or has expired."""
        if voice.consent_id is None:
            return
        record = (await self.of_ids([voice.consent_id])).get(voice.consent_id)
        if record is None:
            raise ConsentMissing(f"The consent of the voice {voice.name!r} is gone.", hint="Attach another one to it.")
        self.check(record, f"The voice {voice.name!r} cannot be used: its consent")

    async def ended(self, voice_ids: Iterable[str]) -> dict[str, ConsentMissing]:
        """Return, for those of the voices whose speakers agree no more, the error of `check_voice`."""
        ids = sorted(set(voice_ids))
        if not ids:
            return {}
        async with self._database.read() as connection:
            records = await fetch_all(connection, voices, VoiceRecord, voices.c.id.in_(ids), of_everybody=True)
        errors: dict[str, ConsentMissing] = {}
        for voice in records:
            try:
                await self.check_voice(voice)
            except ConsentMissing as error:
                errors[voice.id] = error
        return errors

    def check(self, record: ConsentRecord, subject: str) -> None:
        """Raise ConsentMissing unless a consent counts now."""
        status = record.status(self._database.now())
        if status == "valid":
            return
        when = iso(record.withdrawn_at if status == "withdrawn" else record.expires_at)
        verb = "was withdrawn" if status == "withdrawn" else "expired"
        raise ConsentMissing(
            f"{subject} by {record.speaker} {verb} at {when}.",
            hint="Get a new one (POST /api/v1/consents) and attach it: PATCH /api/v1/voices/{voice} with consent_id.",
        )

    async def for_new_voice(self, connection: AsyncConnection, consent_id: str | None, owner: str | None) -> str | None:
        """Return the consent of a voice that is about to be published, None where none is needed.

        It is the one that is named, else the newest for all voices of the owner, else the operator's.

        Raises ConsentMissing where one is required and there is none, and for one that does not count.
        """
        if consent_id:
            record = await fetch_one(connection, consents, ConsentRecord, consents.c.id == consent_id)
            if record is None:
                raise NotFound(f"no consent {consent_id!r}", hint="GET /api/v1/consents lists them.")
            self.check(record, f"The consent {consent_id}")
            return record.id
        if record := await self._of_owner(connection, owner):
            return record.id
        if self.rule.statement:
            return (await self._create(connection, operators_consent(self.rule.statement))).id
        if self.rule.required:
            raise ConsentMissing(
                "A voice needs the consent of its speaker before it is published.",
                hint="POST /api/v1/consents with for_all_voices, or send the id of one as `consent_id`; or use a key "
                "that was created with --consent, or set CONSENT_STATEMENT.",
            )
        return None

    async def check_future_voice(self, consent_id: str | None = None) -> None:
        """Raise as `for_new_voice` where a voice of the caller could not be published, before work is done for it."""
        async with self._database.write() as connection:
            await self.for_new_voice(connection, consent_id, current_caller().owner)

    async def _of_owner(self, connection: AsyncConnection, owner: str | None) -> ConsentRecord | None:
        """Return the newest valid consent for all voices of an owner."""
        where = (consents.c.owner == owner, consents.c.source == ConsentSource.OWNER)
        records = await fetch_all(connection, consents, ConsentRecord, *where, of_everybody=True)
        now = self._database.now()
        valid = [record for record in records if record.status(now) == "valid"]
        return max(valid, key=lambda record: (record.created_at, record.id), default=None)

    async def _create(self, connection: AsyncConnection, new: NewConsentRecord) -> ConsentRecord:
        now = self._database.now()
        consent_id = new.id or creation_id("cons")
        existing = await fetch_all(connection, consents, ConsentRecord, consents.c.id == consent_id, of_everybody=True)
        if existing:
            return existing[0]
        record = ConsentRecord(
            id=consent_id,
            name=new.name or new.speaker,
            speaker=new.speaker,
            statement=new.statement,
            source=new.source,
            uses=new.uses,
            language=new.language,
            given_at=now if new.given_at is None else new.given_at,
            expires_at=new.expires_at,
            withdrawn_at=None,
            recording_key=new.recording_key,
            recording_sha256=new.recording_sha256,
            created_at=now,
            owner=new.owner if new.owner is not None else current_caller().owner,
        )
        if new.source in (ConsentSource.SETTING, ConsentSource.LICENCE):
            record = replace(record, owner=None)
        await connection.execute(insert(consents).values(as_values(record)))
        return record

    async def _change(self, consent_id: str, **values: object) -> ConsentRecord:
        async with self._database.write() as connection:
            this_row = consents.c.id == consent_id
            record = await fetch_one(connection, consents, ConsentRecord, this_row, lock=True)
            if record is None:
                raise NotFound(f"no consent {consent_id!r}", hint="GET /api/v1/consents lists them.")
            await connection.execute(update(consents).where(this_row).values(**values))
            changed = await fetch_one(connection, consents, ConsentRecord, this_row)
            assert changed is not None
            return changed


def operators_consent(statement: str) -> NewConsentRecord:
    """Return the consent that the operator stated for all voices; the same text is stored once."""
    digest = hashlib.sha256(statement.encode()).hexdigest()[:20]
    return NewConsentRecord(
        id=f"cons-setting-{digest}", speaker=OPERATOR, statement=statement, source=ConsentSource.SETTING
    )
