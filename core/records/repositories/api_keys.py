"""API keys: only their SHA-256 is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from sqlalchemy import delete, insert, or_, update

from core.access import ALL_SCOPES, NO_QUOTA, USER_SCOPES, Quota, Scope
from core.creation import creation_id
from core.primary_lease import NotPrimary
from core.records.models.api_keys import ApiKeyRecord
from core.records.queries import as_values, fetch_all, fetch_one, find_created
from core.records.repositories.repository import Repository
from core.records.tables import api_keys

_LAST_USE_RESOLUTION: Final = 60.0
"""Seconds between two updates of a key's last use, so that not every request writes."""


class ApiKeyRepository(Repository):
    """Records of API keys."""

    async def create(
        self,
        name: str,
        *,
        owner: str = "",
        scopes: Collection[Scope] = USER_SCOPES,
        admin: bool = False,
        expires_at: float | None = None,
        quota: Quota = NO_QUOTA,
    ) -> tuple[ApiKeyRecord, str]:
        """Return the record and the key itself, which is shown only here.

        The owner is by default the key's name; `admin` adds every scope.
        """
        scopes = ALL_SCOPES if admin or Scope.ADMIN in scopes else frozenset(scopes)
        key = "sk-" + secrets.token_urlsafe(32)
        record = ApiKeyRecord(
            id=creation_id("key"),
            name=name,
            key_hash=_hash_key(key),
            shown=key[:10],
            admin=Scope.ADMIN in scopes,
            created_at=self._database.now(),
            last_used_at=None,
            revoked_at=None,
            owner=owner or name,
            scopes=sorted(scopes),
            expires_at=expires_at,
            jobs_waiting=quota.jobs_waiting,
            bytes_stored=quota.bytes_stored,
            characters_per_day=quota.characters_per_day,
            requests_per_minute=quota.requests_per_minute,
        )
        async with self._database.write() as connection:
            if await find_created(connection, api_keys, ApiKeyRecord, record.id):  # nobody has seen that key
                await connection.execute(delete(api_keys).where(api_keys.c.id == record.id))
            await connection.execute(insert(api_keys).values(as_values(record)))
        return record, key

    async def find(self, key: str) -> ApiKeyRecord | None:
        """Return the record of a valid key and note its use; None for a key that is unknown or revoked."""
        where = (api_keys.c.key_hash == _hash_key(key), api_keys.c.revoked_at.is_(None))
        async with self._database.read() as connection:
            record = await fetch_one(connection, api_keys, ApiKeyRecord, *where)
        now = self._database.now()
        if record is not None and now - (record.last_used_at or 0.0) >= _LAST_USE_RESOLUTION:
            with suppress(NotPrimary):  # a site that was replaced still answers reads
                async with self._database.write() as connection:
                    this_row = update(api_keys).where(api_keys.c.id == record.id)
                    await connection.execute(this_row.values(last_used_at=now))
        return record

    async def all(self) -> list[ApiKeyRecord]:
        """Return all keys, oldest first, revoked ones included."""
        async with self._database.read() as connection:
            return await fetch_all(connection, api_keys, ApiKeyRecord, order_by=api_keys.c.id)

    async def revoke(self, id_or_name: str) -> int:
        """Revoke the key of that id, or all of that name; return how many."""
        async with self._database.write() as connection:
            result = await connection.execute(
                update(api_keys)
                .where(
                    or_(api_keys.c.id == id_or_name, api_keys.c.name == id_or_name),
                    api_keys.c.revoked_at.is_(None),
                )
                .values(revoked_at=self._database.now())
            )
            return result.rowcount

    async def forget_unusable(self) -> int:
        """Delete revoked and expired keys and return how many: with no key left, none is asked for any more."""
        unusable = or_(api_keys.c.revoked_at.is_not(None), api_keys.c.expires_at <= self._database.now())
        async with self._database.write() as connection:
            return (await connection.execute(delete(api_keys).where(unusable))).rowcount


def _hash_key(key: str) -> str:
    """Return the SHA-256 in hexadecimal; a key has 256 random bits, so it needs no salt."""
    return hashlib.sha256(key.encode()).hexdigest()
