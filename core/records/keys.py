"""Records of API keys: only their SHA-256 is kept."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from sqlalchemy import func, insert, or_, select, update

from core.ids import new_id
from core.records.base import Part
from core.records.database import as_values, fetch_all, fetch_one
from core.records.models import api_keys
from core.records.rows import ApiKeyRecord

_USE_IS_NOTED_EVERY: Final = 60.0
"""Seconds between two notes of a key's last use, so that not every request writes."""


class KeyRecords(Part):
    """Make, check and revoke API keys."""

    async def create_api_key(self, name: str, *, admin: bool = False) -> tuple[ApiKeyRecord, str]:
        """The record and the key itself, which is never seen again."""
        key = "sk-" + secrets.token_urlsafe(32)
        record = ApiKeyRecord(
            id=new_id("key"),
            name=name,
            key_hash=hash_key(key),
            shown=key[:10],
            admin=admin,
            created_at=self._clock(),
            last_used_at=None,
            revoked_at=None,
        )
        async with self._database.write() as connection:
            await connection.execute(insert(api_keys).values(as_values(record)))
        return record, key

    async def find_api_key(self, key: str) -> ApiKeyRecord | None:
        """The record of a valid key; None for one that is unknown or revoked."""
        where = (api_keys.c.key_hash == hash_key(key), api_keys.c.revoked_at.is_(None))
        async with self._database.read() as connection:
            record = await fetch_one(connection, api_keys, ApiKeyRecord, *where)
        now = self._clock()
        if record is not None and now - (record.last_used_at or 0.0) >= _USE_IS_NOTED_EVERY:
            async with self._database.write() as connection:
                this_row = update(api_keys).where(api_keys.c.id == record.id)
                await connection.execute(this_row.values(last_used_at=now))
        return record

    async def list_api_keys(self) -> list[ApiKeyRecord]:
        """Oldest first, revoked ones included."""
        async with self._database.read() as connection:
            return await fetch_all(connection, api_keys, ApiKeyRecord, order_by=api_keys.c.id)

    async def has_api_keys(self) -> bool:
        """Whether there is a key that is not revoked, so that requests must carry one."""
        async with self._database.read() as connection:
            query = select(func.count()).select_from(api_keys).where(api_keys.c.revoked_at.is_(None))
            return bool((await connection.execute(query)).scalar_one())

    async def revoke_api_key(self, id_or_name: str) -> int:
        """How many keys stopped working."""
        async with self._database.write() as connection:
            result = await connection.execute(
                update(api_keys)
                .where(
                    or_(api_keys.c.id == id_or_name, api_keys.c.name == id_or_name),
                    api_keys.c.revoked_at.is_(None),
                )
                .values(revoked_at=self._clock())
            )
            return result.rowcount


def hash_key(key: str) -> str:
    """SHA-256, hexadecimal; a key has 256 bits of chance, so it needs no salt."""
    return hashlib.sha256(key.encode()).hexdigest()
