"""What people ask of webhooks, checked, so that all front doors refuse alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.errors import InvalidParameter, InvalidRequest
from core.net.fetch import Fetcher
from core.records import Records, WebhookRecord
from core.records.outbox import EVENTS, TASK_EVENTS
from core.settings import Settings
from core.signing import key_of, new_secret

LONGEST_URL: Final = 2000
SEND_SECONDS: Final = 10.0
"""One try, from the first lookup to the first line of the answer."""


def make_fetcher(settings: Settings) -> Fetcher:
    """The way out for webhooks: a connection to an address that was checked, and no redirect followed."""
    return Fetcher(
        max_bytes=0,
        timeout_seconds=SEND_SECONDS,
        allowed_hosts=settings.webhook_allowed_hosts,
        allowed_by="WEBHOOK_ALLOWED_HOSTS",
    )


class WebhookService:
    """Registers webhooks and writes down what to tell them."""

    def __init__(self, records: Records, fetcher: Fetcher) -> None:
        self.records = records
        self.fetcher = fetcher

    def check_url(self, url: str) -> str:
        """The URL, unless it is refused at first sight; where its name leads is looked at before every try."""
        if len(url) > LONGEST_URL:
            raise InvalidRequest(f"The URL has {len(url):,} characters; {LONGEST_URL:,} is the most.")
        return self.fetcher.check(url)

    async def register(
        self, url: str, events: Sequence[str] = (), secret: str = "", description: str = ""
    ) -> WebhookRecord:
        """A webhook for these events, all of tasks when none is named; without a secret it gets one."""
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
        wanted = list(dict.fromkeys(events)) or list(TASK_EVENTS)
        return await self.records.webhooks.create(self.check_url(url), wanted, secret or new_secret(), description)

    async def notify(self, kind: str, data: Mapping[str, Any], *, subject: str = "", url: str = "") -> int:
        """Tell of an event that has no task or stage of its own; how many addresses it goes to.

        The ends of tasks and stages are written down by the records themselves and need no call.
        """
        return await self.records.deliveries.add_event(kind, subject, data, [url] if url else [])
