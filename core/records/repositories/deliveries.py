"""Deliveries of events to webhooks: a queue in SQL, from which senders claim what is due."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import delete, select, update

from core.errors import Conflict, NotFound
from core.records.models.page import Page
from core.records.models.webhooks import DeliveryRecord, DeliveryStatus
from core.records.queries import columns, fetch_one, fetch_page
from core.records.repositories.repository import Repository
from core.records.tables import webhook_deliveries as deliveries
from core.records.tables import webhooks

_MAX_HISTORY: Final = 20
"""Attempts of a delivery that are kept."""


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """How one attempt of a delivery ended."""

    at: float
    """When it began, in seconds since the epoch."""
    seconds: float
    status_code: int | None = None
    """None: there was no response."""
    error: str = ""
    """Empty: it was delivered."""


class DeliveryRepository(Repository):
    """Records of deliveries."""

    async def get(self, delivery_id: str) -> DeliveryRecord:
        """Return a delivery; raise NotFound for an unknown id."""
        async with self._database.read() as connection:
            record = await fetch_one(connection, deliveries, DeliveryRecord, deliveries.c.id == delivery_id)
        if record is None:
            raise NotFound(f"no delivery {delivery_id!r}")
        return record

    async def page(
        self,
        limit: int = 50,
        offset: int = 0,
        status: DeliveryStatus | None = None,
        *,
        webhook_id: str | None = None,
        subject: str | None = None,
        event: str | None = None,
        cursor: str = "",
    ) -> Page[DeliveryRecord]:
        """Return a page of deliveries, newest first."""
        filters = {"status": status, "webhook_id": webhook_id, "subject": subject, "event": event}
        where = [deliveries.c[name] == value for name, value in filters.items() if value is not None]
        async with self._database.read() as connection:
            return await fetch_page(connection, deliveries, DeliveryRecord, limit, offset, *where, cursor=cursor)

    async def resend(self, delivery_id: str) -> DeliveryRecord:
        """Start the schedule of a delivery again, now; raise Conflict when its webhook is deleted or disabled."""
        record = await self.get(delivery_id)
        if record.webhook_id is not None:
            query = select(webhooks.c.enabled).where(webhooks.c.id == record.webhook_id)
            async with self._database.read() as connection:
                enabled = (await connection.execute(query)).scalar()
            if not enabled:
                raise Conflict(
                    f"The webhook of delivery {delivery_id} was deleted or is gone.",
                    hint="Make it again with POST /api/v1/webhooks; it is told of what happens from then on.",
                )
        record = replace(
            record, status=DeliveryStatus.PENDING, retries=0, next_try_at=self._database.now(), ended_at=None
        )
        values = {name: getattr(record, name) for name in ("status", "retries", "next_try_at", "ended_at")}
        async with self._database.write() as connection:
            await connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(values))
        return record

    async def claim(self, sender: str, limit: int, seconds: float, busy: Collection[str] = ()) -> list[DeliveryRecord]:
        """Claim deliveries that are due for a sender, for `seconds`; skip those to the URLs in `busy`."""
        now = self._database.now()
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

    async def release(self, sender: str) -> None:
        """Release every claim of a sender that stops."""
        async with self._database.write() as connection:
            claimed = update(deliveries).where(deliveries.c.claimed_by == sender, deliveries.c.claimed_until > 0)
            await connection.execute(claimed.values(claimed_by="", claimed_until=0.0))

    async def end_attempt(
        self, delivery_id: str, sender: str, attempt: DeliveryAttempt, retry_after: float | None
    ) -> DeliveryRecord | None:
        """Record how an attempt ended; return None when the claim was lost meanwhile.

        `retry_after` is the pause before the next attempt in seconds, None for no further attempt.
        """
        now = self._database.now()
        async with self._database.write() as connection:
            this_row = (deliveries.c.id == delivery_id, deliveries.c.claimed_by == sender)
            record = await fetch_one(connection, deliveries, DeliveryRecord, *this_row, lock=True)
            if record is None:
                return None
            ended = not attempt.error or retry_after is None or record.status is not DeliveryStatus.PENDING
            entry = {
                "at": attempt.at,
                "status_code": attempt.status_code,
                "error": attempt.error,
                "seconds": round(attempt.seconds, 3),
            }
            values: dict[str, Any] = {
                "attempts": record.attempts + 1,
                "retries": record.retries + 1,
                "history": [*record.history, entry][-_MAX_HISTORY:],
                "status_code": attempt.status_code,
                "error": attempt.error,
                "next_try_at": None if ended else now + (retry_after or 0.0),
                "claimed_by": "",
                "claimed_until": 0.0,
                "ended_at": now if ended else None,
            }
            if ended:
                values["status"] = DeliveryStatus.FAILED if attempt.error else DeliveryStatus.DELIVERED
            await connection.execute(update(deliveries).where(*this_row).values(values))
        return replace(record, **values)

    async def delete_ended(self, older_than_seconds: float) -> int:
        """Delete deliveries that ended longer ago than this; return how many."""
        old = deliveries.c.ended_at < self._database.now() - older_than_seconds
        async with self._database.write() as connection:
            return (await connection.execute(delete(deliveries).where(old))).rowcount
