"""Records of the limits that someone changed at run time."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.records.base import Part
from core.records.database import as_values, fetch_all, fetch_one
from core.records.models import limits
from core.records.promise_rows import LimitRecord


class LimitRecords(Part):
    """Change and list them."""

    async def list_limits(self) -> list[LimitRecord]:
        async with self._database.read() as connection:
            return await fetch_all(connection, limits, LimitRecord, order_by=limits.c.device)

    async def set_limits(self, changes: Mapping[str, Mapping[str, int | None]]) -> list[LimitRecord]:
        """Device → kind → number; None returns to the settings, and what is not named stays. All of them then."""

        async def change(connection: AsyncConnection) -> list[LimitRecord]:
            for device, values in sorted(changes.items()):
                row = await fetch_one(connection, limits, LimitRecord, limits.c.device == device, lock=True)
                given = {**values, "updated_at": self._clock()}
                if row is None:
                    fresh = LimitRecord(device, values.get("training"), values.get("inference"), self._clock())
                    await connection.execute(insert(limits).values(as_values(fresh)))
                else:
                    await connection.execute(update(limits).where(limits.c.device == device).values(given))
            return await fetch_all(connection, limits, LimitRecord, order_by=limits.c.device)

        return await self._database.write_alone(change)
