"""Sending of webhook deliveries: a few at a time, few to the same URL, each attempt claimed in SQL by one sender."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from common.operating_system import host_name
from core.cancellation import cancel_and_wait
from core.encryption import SecretBox
from core.errors import NotFound, SovitsError
from core.net.fetch import Fetcher
from core.records import DeliveryAttempt, DeliveryRecord, DeliveryStatus, Records
from core.signing import signature_headers

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = (5.0, 30.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0)
"""Pauses after failed attempts: nine attempts in all, the last one about 32 h after the first."""
JITTER: Final = 0.2
"""A pause is up to this fraction longer, so that deliveries that failed together are not retried together."""
CLAIM_SECONDS: Final = 30.0
"""Longer than any attempt: a sender that took so long is dead, and another one retries."""
MAX_CONCURRENT: Final = 32
MAX_CONCURRENT_PER_URL: Final = 4
"""So that a receiver that hangs does not delay deliveries to others."""
KEEP_SECONDS: Final = 30 * 86_400.0
"""How long ended deliveries are kept."""
CLEANUP_SECONDS: Final = 3600.0
GONE: Final = 410


class WebhookSender:
    """Sends deliveries, one sender in each supervisor; two senders never try the same delivery at once."""

    def __init__(
        self,
        records: Records,
        fetcher: Fetcher,
        secret_box: SecretBox,
        secret: str = "",
        *,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`secret` signs deliveries to URLs that came with a request; a webhook has its own."""
        self.records = records
        self.fetcher = fetcher
        self.retry_seconds = retry_seconds
        self.id = f"{host_name()[:40]}-{os.getpid()}-{os.urandom(4).hex()}"
        self._secret_box = secret_box
        self._secret = secret
        self._clock = clock
        self._attempts: dict[asyncio.Task[None], str] = {}
        """Attempt → URL."""
        self._cleaned_at = 0.0

    async def send_due(self) -> int:
        """Start the attempts that are due, within the limits, without waiting for them; return how many."""
        now = time.monotonic()
        if now - self._cleaned_at > CLEANUP_SECONDS or not self._cleaned_at:
            self._cleaned_at = now
            await self.records.deliveries.delete_ended(KEEP_SECONDS)
        started = 0
        while (room := MAX_CONCURRENT - len(self._attempts)) > 0:
            attempts = Counter(self._attempts.values())
            busy = [url for url, count in attempts.items() if count >= MAX_CONCURRENT_PER_URL]
            claimed = await self.records.deliveries.claim(
                self.id, min(room, MAX_CONCURRENT_PER_URL), CLAIM_SECONDS, busy
            )
            if not claimed:
                break
            for delivery in claimed:
                task = asyncio.create_task(self._attempt(delivery))
                self._attempts[task] = delivery.url
                task.add_done_callback(lambda ended: self._attempts.pop(ended, None))
            started += len(claimed)
        return started

    async def settle(self) -> None:
        """Wait for the attempts under way."""
        while self._attempts:
            await asyncio.wait(set(self._attempts))

    async def close(self) -> None:
        """Cancel the attempts under way; another sender retries them."""
        attempts = list(self._attempts)
        await cancel_and_wait(*attempts)
        await asyncio.gather(*attempts, return_exceptions=True)
        if attempts:
            await self.records.deliveries.release(self.id)

    async def _attempt(self, delivery: DeliveryRecord) -> None:
        at, begun = self._clock(), time.monotonic()
        status: int | None = None
        error = ""
        try:
            secret = await self._secret_of(delivery)
            body = delivery.body.encode()
            headers = {
                "content-type": "application/json",
                "user-agent": "sovitsd-webhooks",
                **signature_headers(secret, delivery.id, int(at), body),
            }
            status = await self.fetcher.post(delivery.url, body, headers)
            if not 200 <= status < 300:
                error = f"It answered {status}."
        except SovitsError as failure:
            error = failure.sentences
        except Exception:
            logger.exception("An attempt of the delivery %s failed.", delivery.id)
            error = "The try failed here; the log has the details."
        await self._end(delivery, DeliveryAttempt(at, time.monotonic() - begun, status, error))

    async def _end(self, delivery: DeliveryRecord, attempt: DeliveryAttempt) -> None:
        gone = attempt.status_code == GONE
        left = delivery.retries < len(self.retry_seconds) and not gone
        pause = self.retry_seconds[delivery.retries] * random.uniform(1, 1 + JITTER) if left else None
        ended = await self.records.deliveries.end_attempt(delivery.id, self.id, attempt, pause)
        if ended is None:
            logger.warning("The delivery %s took too long; another sender has it now.", delivery.id)
        elif ended.status is DeliveryStatus.FAILED:
            logger.warning("Gave up the delivery %s of %s: %s", delivery.id, delivery.event, attempt.error)
        if gone and delivery.webhook_id is not None:
            logger.warning("The webhook %s answered 410 and is told nothing more.", delivery.webhook_id)
            await self.records.webhooks.disable(delivery.webhook_id, "It answered 410 Gone.")

    async def _secret_of(self, delivery: DeliveryRecord) -> str:
        if delivery.webhook_id is None:
            return self._secret
        try:
            stored = (await self.records.webhooks.get(delivery.webhook_id)).secret
        except NotFound:
            raise NotFound("The webhook was deleted.") from None
        return self._secret_box.decrypt(stored)
