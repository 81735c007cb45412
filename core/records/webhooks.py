"""Records of webhooks and of what is on its way to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import Conflict, NotFound
from core.ids import new_id
from core.records.base import Part
from core.records.database import as_values, columns, fetch_one, fetch_page
from core.records.models import webhook_deliveries as deliveries
from core.records.models import webhooks
from core.records.outbox import note_event
from core.records.promise_rows import DeliveryRecord, DeliveryStatus, WebhookRecord
from core.records.rows import Page

MOST_WEBHOOKS: Final = 100
_HISTORY: Final = 20
"""Tries of a delivery that are remembered."""


@dataclass(frozen=True, slots=True)
class Try:
    """How one try of a delivery ended."""

    at: float
    seconds: float
    status_code: int | None = None
    """None: there was no answer."""
    error: str = ""
    """Empty: it was delivered."""


class WebhookRecords(Part):
    """Make webhooks, write down what to send, hand it to one sender, note how each try ended."""

    async def create_webhook(
        self, url: str, events: Sequence[str], secret: str, description: str = ""
    ) -> WebhookRecord:
        """Conflict when there are too many."""
        record = WebhookRecord(
            id=new_id("wh"),
            url=url,
            events=list(events),
            description=description,
            secret=secret,
            enabled=True,
            message="",
            created_at=self._clock(),
        )
        async with self._database.write() as connection:
            if (await connection.execute(select(func.count()).select_from(webhooks))).scalar_one() >= MOST_WEBHOOKS:
                raise Conflict(f"There are {MOST_WEBHOOKS} webhooks, the most there can be.", hint="Delete one.")
            await connection.execute(insert(webhooks).values(as_values(record)))
        return record

    async def get_webhook(self, webhook_id: str) -> WebhookRecord:
        async with self._database.read() as connection:
            record = await fetch_one(connection, webhooks, WebhookRecord, webhooks.c.id == webhook_id)
        if record is None:
            raise NotFound(f"no webhook {webhook_id!r}")
        return record

    async def list_webhooks(self, limit: int = 50, offset: int = 0) -> Page[WebhookRecord]:
        async with self._database.read() as connection:
            return await fetch_page(connection, webhooks, WebhookRecord, limit, offset)

    async def delete_webhook(self, webhook_id: str) -> WebhookRecord:
        """What was on its way to it is sent no more."""
        async with self._database.write() as connection:
            record = await fetch_one(connection, webhooks, WebhookRecord, webhooks.c.id == webhook_id)
            if record is None:
                raise NotFound(f"no webhook {webhook_id!r}")
            await connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))
            await self._give_up(connection, webhook_id, "The webhook was deleted.")
        return record

    async def disable_webhook(self, webhook_id: str, message: str) -> None:
        """Send nothing more to an address that is gone."""
        async with self._database.write() as connection:
            this_row = update(webhooks).where(webhooks.c.id == webhook_id)
            await connection.execute(this_row.values(enabled=False, message=message))
            await self._give_up(connection, webhook_id, message)

    async def add_event(self, event: str, subject: str, data: Mapping[str, Any], urls: Sequence[str] = ()) -> int:
        """Write down an event that no other record belongs to; how many deliveries that made."""
        async with self._database.write() as connection:
            return await note_event(connection, event, subject, data, self._clock(), urls)

    async def get_delivery(self, delivery_id: str) -> DeliveryRecord:
        async with self._database.read() as connection:
            record = await fetch_one(connection, deliveries, DeliveryRecord, deliveries.c.id == delivery_id)
        if record is None:
            raise NotFound(f"no delivery {delivery_id!r}")
        return record

    async def list_deliveries(
        self,
        limit: int = 50,
        offset: int = 0,
        status: DeliveryStatus | None = None,
        *,
        webhook_id: str | None = None,
        subject: str | None = None,
        event: str | None = None,
    ) -> Page[DeliveryRecord]:
        given = {"status": status, "webhook_id": webhook_id, "subject": subject, "event": event}
        where = [deliveries.c[name] == value for name, value in given.items() if value is not None]
        async with self._database.read() as connection:
            return await fetch_page(connection, deliveries, DeliveryRecord, limit, offset, *where)

    async def send_again(self, delivery_id: str) -> DeliveryRecord:
        """Let a delivery begin its schedule anew, now. Conflict when its webhook is gone."""
        record = await self.get_delivery(delivery_id)
        if record.webhook_id is not None and not await self._is_enabled(record.webhook_id):
            raise Conflict(
                f"The webhook of delivery {delivery_id} was deleted or is gone.",
                hint="Make it again with POST /api/v1/webhooks; it is told of what happens from then on.",
            )
        values = {"status": DeliveryStatus.PENDING, "retries": 0, "next_try_at": self._clock(), "ended_at": None}
        async with self._database.write() as connection:
            await connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(values))
        return replace(record, **values)  # type: ignore[arg-type]

    async def claim_deliveries(
        self, sender: str, limit: int, seconds: float, busy: Collection[str] = ()
    ) -> list[DeliveryRecord]:
        """What is due, for this sender alone until `seconds` have passed; nothing to the addresses in `busy`."""
        now = self._clock()
        due = (
            deliveries.c.status == DeliveryStatus.PENDING,
            deliveries.c.next_try_at <= now,
            deliveries.c.claimed_until <= now,
        )
        query = select(deliveries.c.id).where(*due, deliveries.c.url.not_in(busy)).order_by(deliveries.c.next_try_at)
        async with self._database.read() as connection:
            ids = (await connection.execute(query.limit(limit))).scalars().all()
        if not ids:
            return []
        # On PostgreSQL a row that another sender is claiming is waited for, and then is not due any more.
        claim = update(deliveries).where(deliveries.c.id.in_(ids), *due)
        claim_values = claim.values(claimed_by=sender, claimed_until=now + seconds)
        async with self._database.write() as connection:
            rows = await connection.execute(claim_values.returning(*columns(deliveries, DeliveryRecord)))
            return [DeliveryRecord(*row) for row in rows.all()]

    async def release_deliveries(self, sender: str) -> None:
        """A sender that ends hands back what it had begun to try."""
        async with self._database.write() as connection:
            its_own = update(deliveries).where(deliveries.c.claimed_by == sender, deliveries.c.claimed_until > 0)
            await connection.execute(its_own.values(claimed_by="", claimed_until=0.0))

    async def end_try(
        self, delivery_id: str, sender: str, one: Try, retry_after: float | None
    ) -> DeliveryRecord | None:
        """Note how a try ended; `retry_after` None: there is no next one. None when the claim was lost meanwhile."""
        now = self._clock()
        async with self._database.write() as connection:
            this_row = (deliveries.c.id == delivery_id, deliveries.c.claimed_by == sender)
            record = await fetch_one(connection, deliveries, DeliveryRecord, *this_row, lock=True)
            if record is None:
                return None
            ended = not one.error or retry_after is None or record.status is not DeliveryStatus.PENDING
            told = {"at": one.at, "status_code": one.status_code, "error": one.error, "seconds": round(one.seconds, 3)}
            values: dict[str, Any] = {
                "attempts": record.attempts + 1,
                "retries": record.retries + 1,
                "history": [*record.history, told][-_HISTORY:],
                "status_code": one.status_code,
                "error": one.error,
                "next_try_at": None if ended else now + (retry_after or 0.0),
                "claimed_by": "",
                "claimed_until": 0.0,
                "ended_at": now if ended else None,
            }
            if ended:
                values["status"] = DeliveryStatus.FAILED if one.error else DeliveryStatus.DELIVERED
            await connection.execute(update(deliveries).where(*this_row).values(values))
        return replace(record, **values)

    async def forget_deliveries(self, older_than_seconds: float) -> int:
        """Delete what ended long ago; how many."""
        old = deliveries.c.ended_at < self._clock() - older_than_seconds
        async with self._database.write() as connection:
            return (await connection.execute(delete(deliveries).where(old))).rowcount

    async def _is_enabled(self, webhook_id: str) -> bool:
        try:
            return (await self.get_webhook(webhook_id)).enabled
        except NotFound:
            return False

    async def _give_up(self, connection: AsyncConnection, webhook_id: str, reason: str) -> None:
        on_the_way = (deliveries.c.webhook_id == webhook_id, deliveries.c.status == DeliveryStatus.PENDING)
        values = {"status": DeliveryStatus.FAILED, "error": reason, "next_try_at": None, "ended_at": self._clock()}
        await connection.execute(update(deliveries).where(*on_the_way).values(values))
