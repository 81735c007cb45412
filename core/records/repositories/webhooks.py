"""Webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.access import current_caller
from core.creation import creation_id
from core.errors import Conflict, NotFound
from core.records.models.page import Page
from core.records.models.webhooks import DeliveryStatus, WebhookRecord
from core.records.queries import as_values, fetch_one, fetch_page, find_created
from core.records.repositories.repository import Repository
from core.records.tables import webhook_deliveries, webhooks

MAX_WEBHOOKS: Final = 100


class WebhookRepository(Repository):
    """Records of registered webhooks."""

    async def create(self, url: str, events: Sequence[str], secret: str, description: str = "") -> WebhookRecord:
        """Insert a webhook; raise Conflict when there are `MAX_WEBHOOKS`."""
        record = WebhookRecord(
            id=creation_id("wh"),
            url=url,
            events=list(events),
            description=description,
            secret=secret,
            enabled=True,
            message="",
            created_at=self._database.now(),
            owner=current_caller().owner,
        )
        async with self._database.write() as connection:
            if await find_created(connection, webhooks, WebhookRecord, record.id):  # nobody has seen its secret
                await connection.execute(delete(webhooks).where(webhooks.c.id == record.id))
            mine = select(func.count()).select_from(webhooks).where(webhooks.c.owner.is_not_distinct_from(record.owner))
            if (await connection.execute(mine)).scalar_one() >= MAX_WEBHOOKS:
                raise Conflict(f"There are {MAX_WEBHOOKS} webhooks, the most there can be.", hint="Delete one.")
            await connection.execute(insert(webhooks).values(as_values(record)))
        return record

    async def get(self, webhook_id: str) -> WebhookRecord:
        """Return a webhook; raise NotFound for an unknown id."""
        async with self._database.read() as connection:
            return await _get_webhook(connection, webhook_id)

    async def secrets(self) -> Mapping[str, str]:
        """Return id → secret as it is stored."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(webhooks.c.id, webhooks.c.secret))
            return {row.id: row.secret for row in rows}

    async def replace_secret(self, webhook_id: str, old: str, new: str) -> bool:
        """Store another form of a secret; return whether it was still `old`."""
        async with self._database.write() as connection:
            this_row = update(webhooks).where(webhooks.c.id == webhook_id, webhooks.c.secret == old)
            return (await connection.execute(this_row.values(secret=new))).rowcount > 0

    async def page(self, limit: int = 50, offset: int = 0, *, cursor: str = "") -> Page[WebhookRecord]:
        """Return a page of webhooks, newest first."""
        async with self._database.read() as connection:
            return await fetch_page(connection, webhooks, WebhookRecord, limit, offset, cursor=cursor)

    async def delete(self, webhook_id: str) -> WebhookRecord:
        """Delete a webhook and return its record; its pending deliveries fail."""
        async with self._database.write() as connection:
            record = await _get_webhook(connection, webhook_id)
            await connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))
            await self._fail_pending_deliveries(connection, webhook_id, "The webhook was deleted.")
        return record

    async def disable(self, webhook_id: str, message: str) -> None:
        """Send nothing more to a webhook; its pending deliveries fail with this message."""
        async with self._database.write() as connection:
            this_row = update(webhooks).where(webhooks.c.id == webhook_id)
            await connection.execute(this_row.values(enabled=False, message=message))
            await self._fail_pending_deliveries(connection, webhook_id, message)

    async def _fail_pending_deliveries(self, connection: AsyncConnection, webhook_id: str, reason: str) -> None:
        table = webhook_deliveries
        pending = (table.c.webhook_id == webhook_id, table.c.status == DeliveryStatus.PENDING)
        now = self._database.now()
        values = {"status": DeliveryStatus.FAILED, "error": reason, "next_try_at": None, "ended_at": now}
        await connection.execute(update(table).where(*pending).values(values))


async def _get_webhook(connection: AsyncConnection, webhook_id: str) -> WebhookRecord:
    record = await fetch_one(connection, webhooks, WebhookRecord, webhooks.c.id == webhook_id)
    if record is None:
        raise NotFound(f"no webhook {webhook_id!r}")
    return record
