"""Registration of webhooks, validated alike for all APIs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from core.encryption import SecretBox
from core.errors import InvalidParameter, InvalidRequest
from core.net.fetch import Fetcher
from core.records import Records, WebhookRecord
from core.records.outbox import EVENTS, TASK_EVENTS
from core.settings import Settings
from core.signing import key_of, new_secret

MAX_URL_LENGTH: Final = 2000
TIMEOUT_SECONDS: Final = 10.0
"""Of one attempt, from the first lookup to the status line of the response."""


def make_fetcher(settings: Settings) -> Fetcher:
    """Return the HTTP client for webhooks: it connects to checked addresses and follows no redirect."""
    return Fetcher(
        max_bytes=0,
        timeout_seconds=TIMEOUT_SECONDS,
        allowed_hosts=settings.webhook_allowed_hosts,
        allowed_by="WEBHOOK_ALLOWED_HOSTS",
    )


class WebhookService:
    """Registers webhooks and checks their URLs."""

    def __init__(self, records: Records, fetcher: Fetcher, secret_box: SecretBox) -> None:
        self.records = records
        self.fetcher = fetcher
        self.secret_box = secret_box

    def check_url(self, url: str) -> str:
        """Return an acceptable URL or raise; the addresses of its host are checked again before every attempt."""
        if len(url) > MAX_URL_LENGTH:
            raise InvalidRequest(f"The URL has {len(url):,} characters; {MAX_URL_LENGTH:,} is the most.")
        return self.fetcher.check(url)

    async def register(
        self, url: str, events: Sequence[str] = (), secret: str = "", description: str = ""
    ) -> WebhookRecord:
        """Create a webhook for some events (none: all of tasks); without a secret it gets a new one.

        The record that is returned has the secret itself; the database has it encrypted.
        """
        if unknown := [event for event in events if event not in EVENTS]:
            raise InvalidParameter(
                f"There is no event {unknown[0]!r}.",
                hint=f"Events: {', '.join(EVENTS)}.",
                details={"parameters": ["events"]},
            )
        if secret:
            try:
                key_of(secret)
            except ValueError as error:
                raise InvalidParameter(
                    f"The secret cannot be used: {error}.",
                    hint="Leave it out, and one is made.",
                    details={"parameters": ["secret"]},
                ) from None
        subscribed = list(dict.fromkeys(events)) or list(TASK_EVENTS)
        secret = secret or new_secret()
        stored = self.secret_box.encrypt(secret)
        webhook = await self.records.webhooks.create(self.check_url(url), subscribed, stored, description)
        return replace(webhook, secret=secret)
