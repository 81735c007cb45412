"""Limits that were changed at run time."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.records.models.limits import LimitRecord
from core.records.queries import as_values, fetch_all, fetch_one
from core.records.repositories.repository import Repository
from core.records.tables import limits


class LimitRepository(Repository):
    """Records of changed limits, one per device."""

    async def all(self) -> list[LimitRecord]:
        """Return all records."""
        async with self._database.read() as connection:
            return await fetch_all(connection, limits, LimitRecord, order_by=limits.c.device)

    async def update(self, changes: Mapping[str, Mapping[str, int | None]]) -> list[LimitRecord]:
        """Set limits by device and kind, None for the value of the settings; return all records."""

        async def write(connection: AsyncConnection) -> list[LimitRecord]:
            for device, values in sorted(changes.items()):
                now = self._database.now()
                record = await fetch_one(connection, limits, LimitRecord, limits.c.device == device, lock=True)
                if record is None:
                    record = LimitRecord(device, values.get("training"), values.get("inference"), now)
                    await connection.execute(insert(limits).values(as_values(record)))
                else:
                    this_row = update(limits).where(limits.c.device == device)
                    await connection.execute(this_row.values({**values, "updated_at": now}))
            return await fetch_all(connection, limits, LimitRecord, order_by=limits.c.device)

        return await self._database.write_with_retry(write)
