"""Sends what is due: a few at a time, few to the same address, each try claimed in SQL by one sender."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from core.errors import NotFound, SovitsError
from core.net.fetch import Fetcher
from core.records import DeliveryAttempt, DeliveryRecord, DeliveryStatus, Records
from core.signing import headers

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = (5.0, 30.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0)
"""Pauses after the failed tries: nine in all, the last one about 32 h after the first."""
SPREAD: Final = 0.2
"""Up to so much longer is a pause, so that what failed together does not come back together."""
CLAIM_SECONDS: Final = 30.0
"""Longer than any try: a sender that took so long is dead, and the next one tries."""
MOST_AT_ONCE: Final = 32
MOST_TO_ONE_ADDRESS: Final = 4
"""So that a receiver that hangs holds up nobody else's."""
KEEP_SECONDS: Final = 30 * 86_400.0
"""How long deliveries that ended are listed."""
FORGET_EVERY_SECONDS: Final = 3600.0
GONE: Final = 410


class WebhookSender:
    """One a supervisor. Any number of them share the records and never try the same delivery at once."""

    def __init__(
        self,
        records: Records,
        fetcher: Fetcher,
        secret: str = "",
        *,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`secret` signs what goes to addresses that came with a request; a webhook has its own."""
        self.records = records
        self.fetcher = fetcher
        self.retry_seconds = retry_seconds
        self.id = f"{os.uname().nodename[:40]}-{os.getpid()}-{os.urandom(4).hex()}"
        self._secret = secret
        self._clock = clock
        self._under_way: dict[asyncio.Task[None], str] = {}
        """DeliveryAttempt → address."""
        self._forgot_at = 0.0

    async def send_due(self) -> int:
        """Begin every try that is due and has room; how many. Does not wait for their ends."""
        await self._forget()
        begun = 0
        while (room := MOST_AT_ONCE - len(self._under_way)) > 0:
            to = Counter(self._under_way.values())
            busy = [url for url, count in to.items() if count >= MOST_TO_ONE_ADDRESS]
            claimed = await self.records.deliveries.claim(self.id, min(room, MOST_TO_ONE_ADDRESS), CLAIM_SECONDS, busy)
            if not claimed:
                break
            for delivery in claimed:
                task = asyncio.create_task(self._try(delivery))
                self._under_way[task] = delivery.url
                task.add_done_callback(lambda ended: self._under_way.pop(ended, None))
            begun += len(claimed)
        return begun

    async def settle(self) -> None:
        """Wait for the tries under way."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    async def close(self) -> None:
        """Break off; what was under way is tried again by whoever comes next."""
        under_way = list(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        if under_way:
            await self.records.deliveries.release(self.id)

    async def _try(self, delivery: DeliveryRecord) -> None:
        at, begun = self._clock(), time.monotonic()
        status: int | None = None
        error = ""
        try:
            secret = await self._secret_of(delivery)
            body = delivery.body.encode()
            sent = {
                "content-type": "application/json",
                "user-agent": "sovitsd-webhooks",
                **headers(secret, delivery.id, int(at), body),
            }
            status = await self.fetcher.post(delivery.url, body, sent)
            if not 200 <= status < 300:
                error = f"It answered {status}."
        except SovitsError as refused:
            error = f"{refused.message} {refused.hint}".strip()
        except Exception:
            logger.exception("A try of the delivery %s failed.", delivery.id)
            error = "The try failed here; the log has the details."
        await self._end(delivery, DeliveryAttempt(at, time.monotonic() - begun, status, error))

    async def _end(self, delivery: DeliveryRecord, one: DeliveryAttempt) -> None:
        gone = one.status_code == GONE
        left = delivery.retries < len(self.retry_seconds) and not gone
        pause = self.retry_seconds[delivery.retries] * random.uniform(1, 1 + SPREAD) if left else None
        ended = await self.records.deliveries.end_attempt(delivery.id, self.id, one, pause)
        if ended is None:
            logger.warning("The delivery %s took too long; another sender has it now.", delivery.id)
        elif ended.status is DeliveryStatus.FAILED:
            logger.warning("Gave up the delivery %s of %s: %s", delivery.id, delivery.event, one.error)
        if gone and delivery.webhook_id is not None:
            logger.warning("The webhook %s answered 410 and is told nothing more.", delivery.webhook_id)
            await self.records.webhooks.disable(delivery.webhook_id, "It answered 410 Gone.")

    async def _secret_of(self, delivery: DeliveryRecord) -> str:
        if delivery.webhook_id is None:
            return self._secret
        try:
            return (await self.records.webhooks.get(delivery.webhook_id)).secret
        except NotFound:
            raise NotFound("The webhook was deleted.") from None

    async def _forget(self) -> None:
        now = time.monotonic()
        if now - self._forgot_at > FORGET_EVERY_SECONDS or not self._forgot_at:
            self._forgot_at = now
            await self.records.deliveries.delete_ended(KEEP_SECONDS)
